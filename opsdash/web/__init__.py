"""Between network and page: the request filter, authentication, the sign-in, and the headers of every answer."""
