"""Loopback ports: is this one free, and give me one that is."""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"
AVOID = 6379
"""Redis's own port: a program on this machine that expects its Redis there must not find the demo's."""
_ABSTRACT_NAMES = sys.platform == "linux"


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the servers do: without it a port stays "taken" for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on at this moment; whoever binds it must be ready to lose the race."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port != AVOID:
            return port


class Claim:
    """A port that no other demo takes while its page is still starting.

    Two demos that start together both find 5006 free, and the slower one would take the faster one's page for its own.
    An abstract socket (Linux) is a claim that ends with this process, however it ends. Elsewhere the page that loses
    the race is moved.

    Attributes:
        port: The claimed port.
        moved: Whether it is another one than was asked for.
    """

    def __init__(self, wanted: int) -> None:
        self._socket: socket.socket | None = None
        self.port = wanted
        self.moved = not self._take(wanted)
        if self.moved:
            self.move()

    def move(self) -> None:
        """Claims another port."""
        self.release()
        self.moved = True
        while not self._take(port := free_port()):
            pass
        self.port = port

    def release(self) -> None:
        """Gives it up."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _take(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX)
        try:
            if _ABSTRACT_NAMES:
                claim.bind(f"\0opsdash-demo-port-{port}")
        except OSError:
            claim.close()
            return False
        if not is_free(port):
            claim.close()
            return False
        self._socket = claim
        return True
