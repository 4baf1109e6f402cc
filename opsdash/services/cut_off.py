"""A limit on a whole exchange over a socket: the socket's own timeout is for each step, and there may be many steps."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

_AGAIN_S = 0.5


@contextlib.contextmanager
def cut_off_after(limit_s: float, find: Callable[[], socket.socket | None]) -> Iterator[Callable[[], bool]]:
    """Ends the connection when the time is over: what waits for it then gets an error, or what looks like an end.

    Args:
        find: The socket; None: there is none yet, or it is closed.

    Yields:
        Whether the time is over.
    """
    ended, cut = threading.Event(), threading.Event()

    def watch() -> None:
        left_s = limit_s
        while not ended.wait(left_s):
            cut.set()
            left_s = _AGAIN_S  # it may be connected later only
            if (found := find()) is not None:
                with contextlib.suppress(OSError):
                    # Not TLS's own method, which changes what the other thread reads by.
                    socket.socket.shutdown(found, socket.SHUT_RDWR)

    threading.Thread(target=watch, name="opsdash-cut-off", daemon=True).start()
    try:
        yield cut.is_set
    finally:
        ended.set()
