"""Ends the sleep of the worker's loop, which another thread or greenlet can't do by Celery's own means."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger

from opsdash.worker import celery_private

logger = get_logger(__name__)


class Waker:
    """A socket pair in the loop: a byte into one end ends the loop's sleep.

    The event loop of prefork, threads and solo sleeps up to 2 s on before Celery 5.7; that one's hub has its own
    waker, a second byte costs one more turn. Green pools have another loop, which sleeps up to 2 s on any Celery.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._listen: Callable[[bool], None] | None = None
        self._listening = False

    @property
    def usable(self) -> bool:
        """It was made in this process: after a fork another process has both ends too."""
        return self._pid == os.getpid()

    def listen_in_hub(self, hub: Any) -> None:
        """Takes part in an event loop."""
        hub.add_reader(self._reader.fileno(), self._drain)

    def listen_in_green_loop(self, consumer: Any) -> None:
        """Takes part in the loop of a green pool, for one connection of the consumer to its broker; see ``listen``."""
        self._listen, self._listening = None, False
        try:
            self._listen = celery_private.wake_in_green_loop(consumer, self._reader.fileno(), self._drain)
        except LookupError as lost:
            logger.warning("opsdash: a resume may take 2 s to reach this worker; this kombu has no %s", lost)

    def listen(self, on: bool) -> None:
        """Green pools: whether a byte ends the loop's sleep. Off while tasks flow, since each would pay for it."""
        if self._listen is not None and on is not self._listening:
            self._listen(on)
            self._listening = on

    def wake(self) -> None:
        """From any thread or greenlet."""
        with contextlib.suppress(OSError):  # full: the loop has plenty to wake up for; closed: there is no loop
            self._writer.send(b"\0")

    def _drain(self) -> None:
        """In the loop."""
        with contextlib.suppress(OSError):  # another turn has read it
            self._reader.recv(4096)
