"""Waiting a bounded time for a database that may not answer: an act must not last as long as an outage does."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from opsdash.errors import OpsdashError, Unavailable, Uncertain

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S = 0.5
"""A database that is well answers within a hundredth of this."""
REST_S, LONGEST_REST_S = 2.0, 30.0
"""After a failure it is left alone so long, twice as long after the next one, and so on up to the longest."""
IDLE_S = 5.0
"""A thread waits so long for its next call: to start one costs as much as a statement."""


class _Running(Generic[T]):
    """One call, in its own thread."""

    def __init__(self, call: Callable[[], T], late: Callable[[T], object] | None) -> None:
        self.call, self.late = call, late
        self.done = threading.Event()
        self.given_up = False
        self.value: T | None = None
        self.error: BaseException | None = None


class _Threads:
    """Threads that wait a while for their next call. Not a pool, for whose threads the interpreter waits at its end."""

    def __init__(self) -> None:
        self._idle: deque[SimpleQueue[Callable[[], object]]] = deque()
        os.register_at_fork(after_in_child=self._idle.clear)  # those threads are in the parent

    def run(self, call: Callable[[], object]) -> None:
        """Runs it in a thread; it raises nothing."""
        try:
            self._idle.pop().put(call)
        except IndexError:
            threading.Thread(target=self._work, args=(call,), name="opsdash-time-limit", daemon=True).start()

    def _work(self, first: Callable[[], object]) -> None:
        calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        calls.put(first)
        del first
        while True:
            try:
                calls.get(timeout=IDLE_S)()
            except Empty:
                try:
                    self._idle.remove(calls)
                except ValueError:  # it was taken just now, and a call comes
                    continue
                return
            self._idle.append(calls)


_THREADS = _Threads()


class TimeLimit:
    """Calls that are waited for, up to a time limit.

    A call that takes longer goes on in its own thread, and until it ends nobody waits for the next one: that it is
    still out there *is* the news that the database does not answer. When it ends well the database answers again.

    Args:
        who: Who does not answer, as the error says it.
        rests: After what it is left alone for a while: ``late`` calls that failed in the end, ``any`` failure, or
            ``never``.
    """

    def __init__(self, who: str, *, wait_s: float | None = None, rests: str = "late") -> None:
        self._who, self._wait_s, self._rests_after = who, wait_s, rests
        self._lock = threading.Lock()
        self._late = self._failures = 0
        self._rests_until_s = 0.0  # monotonic

    @property
    def hangs(self) -> bool:
        """Some call is out for longer than anybody waits."""
        return self._late > 0

    @property
    def rests(self) -> bool:
        """It is left alone, because it failed a moment ago."""
        return time.monotonic() < self._rests_until_s

    def answered(self) -> None:
        """Another call was answered: the wait is over."""
        with self._lock:
            self._failures, self._rests_until_s = 0, 0.0

    def run(
        self,
        call: Callable[[], T],
        *,
        wait_s: float | None = None,
        late: Callable[[T], object] | None = None,
        rested: bool = True,
    ) -> T:
        """What ``call`` returns or raises, if that is soon. Cost: two changes of thread.

        Args:
            wait_s: Instead of the usual time. ``late``: given what a call returned that nobody waits for any more.
            rested: False tries it although it failed a moment ago.

        Raises:
            Unavailable: It did not end in time, or was not tried: an earlier one has not ended, or failed a moment ago.
        """
        with self._lock:
            if self._late or (rested and self.rests):
                raise Unavailable(f"{self._who} did not answer a moment ago", silent=True)
        wait_s = (WAIT_S if self._wait_s is None else self._wait_s) if wait_s is None else wait_s
        running = _Running(call, late)
        _THREADS.run(lambda: self._call(running))
        running.done.wait(wait_s)
        with self._lock:
            running.given_up = not running.done.is_set()
            self._late += running.given_up
        if running.given_up:
            raise Unavailable(f"{self._who} did not answer within {wait_s:g} s", silent=True)
        if running.error is not None:
            raise running.error
        value: Any = running.value
        return value  # type: ignore[no-any-return]

    def _call(self, running: _Running[Any]) -> None:
        try:
            running.value = running.call()
        except BaseException as error:  # noqa: BLE001 - it is raised in the waiting thread
            running.error = error
        with self._lock:
            if isinstance(running.error, Unavailable | Uncertain):
                if self._rests_after == "any" or (self._rests_after == "late" and running.given_up):
                    rest_s = min(LONGEST_REST_S, REST_S * 2.0**self._failures)
                    self._failures, self._rests_until_s = min(self._failures + 1, 30), time.monotonic() + rest_s
            else:
                self._failures, self._rests_until_s = 0, 0.0
            self._late -= running.given_up
            running.done.set()
        if running.given_up:
            self._end_late(running)

    def _end_late(self, running: _Running[Any]) -> None:
        error = running.error
        if error is None:
            log.info("%s answers again", self._who)
            try:
                if running.late is not None:
                    running.late(running.value)
            except OpsdashError as failure:
                log.warning("what came of a late answer failed: %s", failure)
        elif isinstance(error, OpsdashError):
            log.info("a call that was no longer waited for ended with: %s", error)
        else:  # a bug, and nobody else is there to tell of it
            log.error("a call that was no longer waited for failed", exc_info=error)
