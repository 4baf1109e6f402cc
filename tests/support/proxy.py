"""A TCP proxy that can be cut like a cable: what is under way hangs, what is new is not answered."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Passes bytes between its own port and another one, until it is cut.

    Attributes:
        port: Where clients connect.
        passed: How many pieces of bytes clients have sent through it: about one for each round trip.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.passed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._whole = threading.Event()
        self._whole.set()
        self._over = threading.Event()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """From now on nothing passes, in either direction; connections stay open and say nothing."""
        self._whole.clear()

    def mend(self) -> None:
        """What was held back passes, in order, and so does everything new."""
        self._whole.set()

    def close(self) -> None:
        """Ends it."""
        self._over.set()
        self._whole.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        self._whole.wait()
        with contextlib.ExitStack() as open_now, contextlib.suppress(OSError):
            open_now.enter_context(client)
            server = open_now.enter_context(socket.create_connection(("127.0.0.1", self._target)))
            ready = open_now.enter_context(selectors.DefaultSelector())
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while not self._over.is_set():
                for key, _ in ready.select(0.5):
                    data = key.fileobj.recv(65_536)
                    self.passed += key.fileobj is client
                    self._whole.wait()
                    if not data:
                        return
                    key.data.sendall(data)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy before a port, gone at the end."""
    with contextlib.closing(Proxy(target)) as made:
        yield made
