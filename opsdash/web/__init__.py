"""What stands between the network and the page: the gate, the door, the login, and the headers of every answer."""
