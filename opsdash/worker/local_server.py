"""Answers the commands of the worker's container: ``opsdash.worker.drain`` and ``opsdash.worker.alive``."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger

from opsdash.worker import local_client

logger = get_logger(__name__)

CLIENT_S = 1.0
"""How long a caller may take to say what it wants: they are served one after the other."""
LONGEST_HOLD_S = 3_600.0
_servers: weakref.WeakSet[LocalServer] = weakref.WeakSet()


class LocalServer:
    """Listens on a socket of this container, in its own thread, which never waits for the broker.

    It is bound before the pool forks, and has its thread only from ``open`` on: until then a command can see that a
    worker starts here. Children of a fork let go of it.

    Args:
        facts: The answer about the worker; any thread.
        drain: Has the worker take no more tasks, or take them again; any thread.
    """

    def __init__(self, instance: str, facts: Callable[[], dict[str, Any]], drain: Callable[[bool], None]) -> None:
        self._facts, self._drain = facts, drain
        self._hold_until: float | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(f"\0{local_client.place_of(os.getpid(), instance)}")
        except (OSError, ValueError) as error:  # not Linux, or a sandbox that has none
            self.close()
            logger.warning("opsdash: python -m opsdash.worker.drain and .alive can't reach this worker: %s", error)
        else:
            _servers.add(self)

    def open(self) -> None:
        """Begins to answer; doing it again changes nothing."""
        if self._socket is None or self._thread is not None:
            return
        self._socket.listen(8)
        self._thread = threading.Thread(target=self._run, args=(self._socket,), name="opsdash-local", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answers nobody any more."""
        listener, self._socket = self._socket, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the thread's wait, which closing alone does not
            listener.close()

    def let_go(self) -> None:
        """In a child: the socket is its parent's."""
        listener, self._socket = self._socket, None
        if listener is not None:
            listener.close()

    def _run(self, listener: socket.socket) -> None:
        while self._socket is not None:
            try:
                listener.settimeout(self._timeout_s())
                caller, _address = listener.accept()
            except TimeoutError:
                self._end_of_hold()
                continue
            except (OSError, ValueError):  # closed
                return
            with caller:
                self._serve(caller)
            self._end_of_hold()

    def _timeout_s(self) -> float | None:
        return None if self._hold_until is None else max(0.01, self._hold_until - time.monotonic())

    def _end_of_hold(self) -> None:
        """The command has gone, and the worker was not stopped: it takes tasks again."""
        if self._hold_until is not None and time.monotonic() >= self._hold_until:
            self._hold_until = None
            self._drain(False)
            logger.warning("opsdash: drained, and neither stopped nor asked again: takes tasks again")

    def _serve(self, caller: socket.socket) -> None:
        try:
            caller.settimeout(CLIENT_S)
            if local_client.peer(caller)[1] not in (os.geteuid(), 0):
                return
            self._do(*caller.recv(local_client.LONGEST_REQUEST).decode("ascii").split())
            caller.sendall(json.dumps(self._facts(), separators=(",", ":")).encode())
        except (OSError, ValueError, TypeError) as error:  # gone, too slow, or not one of our commands
            logger.debug("opsdash: a request from this container came to nothing: %s", error)
        except Exception:  # a fault of ours must end neither the thread nor what a drain has begun
            logger.exception("opsdash: a request from this container could not be answered")

    def _do(self, what: str, hold_s: str = "") -> None:
        if what == "drain":
            began = self._hold_until is None
            self._hold_until = time.monotonic() + min(max(0.0, float(hold_s)), LONGEST_HOLD_S)
            if began:
                logger.warning("opsdash: draining: takes no more tasks, and puts back unstarted tasks")
            self._drain(True)
        elif what == "release" and self._hold_until is not None:
            self._hold_until = None
            logger.warning("opsdash: no longer drained: takes tasks again")
            self._drain(False)


def _let_go() -> None:
    for server in list(_servers):
        server.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
