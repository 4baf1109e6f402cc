"""What stands between the network and the page: the request filter, the sign-in, and the headers of every answer."""
