"""Between network and page: the request filter, authentication, the login, and the headers of every answer."""
