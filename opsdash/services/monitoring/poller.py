"""One reader per process: every page, widget and waiting command shares its snapshots."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import partial

from opsdash.model import Snapshot
from opsdash.services.threads import FIGURES

log = logging.getLogger(__name__)

Subscriber = Callable[[Snapshot], None]

APART_S = 0.25
"""Reads that pages ask for start at least this far apart, so that many requests do not keep a core busy."""


class Poller:
    """Reads a snapshot every ``interval_s`` while anybody subscribes, and hands it to all.

    The thread ends with its last subscriber; nothing is read while nobody looks.

    Args:
        between: Called between two reads, in the poller's thread, and again after as many seconds as it returns.
    """

    def __init__(
        self, read: Callable[[], Snapshot], interval_s: float, between: Callable[[], float] = lambda: math.inf
    ) -> None:
        self.interval_s = interval_s
        self._between = between
        self.latest: Snapshot | None = None
        self._read = read
        self._subscribers: dict[int, Subscriber] = {}
        self._next_id = 0
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._following: Future[Snapshot] | None = None
        self._began_s = float("-inf")  # monotonic
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls ``subscriber`` at once with the latest snapshot, if any, then after each read, in the poller's thread.

        Returns:
            A callable that ends the subscription; calling it again does nothing.
        """
        with self._lock:
            self._next_id += 1
            number = self._next_id
            self._subscribers[number] = subscriber
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="opsdash-poller", daemon=True)
                self._thread.start()
        if self.latest is not None:
            self._notify(subscriber, self.latest)
        return partial(self._unsubscribe, number)

    def refresh(self) -> Snapshot:
        """Reads now, and hands the snapshot to every subscriber before it returns.

        One read at a time: all who come while one runs share the one that follows it, and so see what they have done.
        """
        return self._next_read(lambda read: read()).result()

    async def refreshed(self) -> Snapshot:
        """As ``refresh``, beside the event loop: however many wait, they need one thread, and four reads a second."""

        def later(read: Callable[[], None]) -> None:
            time.sleep(max(0.0, self._began_s + APART_S - time.monotonic()))
            read()

        return await asyncio.wrap_future(self._next_read(lambda read: FIGURES.start(partial(later, read))))

    def refresh_soon(self, wait_s: float) -> None:
        """As ``refresh``, and waits so long at most: the read goes on by itself."""
        try:
            self._next_read(FIGURES.start).result(wait_s)
        except NotYet:
            log.info("a snapshot takes longer than %g s", wait_s)

    def _next_read(self, start: Callable[[Callable[[], None]], object]) -> Future[Snapshot]:
        """The read that begins next.

        Args:
            start: Called with that read, unless another caller has done so.
        """
        with self._lock:
            following = self._following
            if following is not None:
                return following
            following = self._following = Future()
            following.set_running_or_notify_cancel()  # one of those who wait may go; the others wait on
        try:
            start(self._read_following)
        except RuntimeError as error:  # the process is ending, and starts nothing any more
            with self._lock:
                self._following = None
            following.set_exception(error)
        return following

    def _read_following(self) -> None:
        with self._reading:
            with self._lock:
                following, self._following = self._following, None  # who comes from now on needs a later one
            if following is None:  # never: it is taken away here alone
                return
            try:
                following.set_result(self._read_now())
            except BaseException as error:  # noqa: BLE001 - it is raised in the waiting thread
                following.set_exception(error)

    def _read_now(self) -> Snapshot:
        self._began_s = time.monotonic()
        snapshot = self._read()
        self.latest = snapshot
        with self._lock:
            subscribers = list(self._subscribers.values())
        for subscriber in subscribers:
            self._notify(subscriber, snapshot)
        return snapshot

    def close(self) -> None:
        """Ends every subscription, and with the last one the thread."""
        with self._lock:
            self._subscribers.clear()
            self._wake.set()

    def _unsubscribe(self, number: int) -> None:
        with self._lock:
            self._subscribers.pop(number, None)
            if not self._subscribers:
                self._wake.set()

    def _notify(self, subscriber: Subscriber, snapshot: Snapshot) -> None:
        try:
            subscriber(snapshot)
        except Exception:
            # One broken page must not stop the figures of all others.
            log.exception("a subscriber of the poller failed")

    def _loop(self) -> None:
        while True:
            with self._lock:
                self._wake.clear()
                if not self._subscribers:
                    self._thread = None
                    return
            started = time.monotonic()
            try:
                self.refresh()
            except Exception:
                # snapshot() answers for outages itself; what arrives here is a bug, and the next read may go well.
                log.exception("reading a snapshot failed")
            self._rest(started + self.interval_s)

    def _rest(self, until: float) -> None:
        left_s = max(0.05, until - time.monotonic())
        while left_s > 0:
            with self._reading:
                wait_s = min(left_s, max(0.01, self._between()))
            if self._wake.wait(wait_s):
                return
            left_s = until - time.monotonic()
