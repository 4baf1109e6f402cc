"""How long tasks were in their queue: measured where a worker starts them, and reported as histograms.

A task's time is its start minus its sending, or minus its ETA where that is later. The start is the moment when a
process, thread or greenlet of the pool accepts it: what it waited inside this worker counts too. Starts are read by the
clock of Redis, which all workers share; sendings by the sender's.

Cost per task: 0.7 µs in the worker's main process, 1.1 µs for one with an ETA, on a machine with load 4; no round trip.
While something is held each task is looked at once more.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from opsdash.keys import SENT
from opsdash.model.time_in_queue import BOUNDS_S, BUCKETS, MOST_QUEUES, TimeInQueue
from opsdash.worker.gate import PauseState
from opsdash.worker.hold_rules import HoldRules

EARLY_S = 0.1
"""A task that seems to begin by no more than this before it was sent began at once: clocks are no better."""
LATE_S = 1e8
"""Three years: a task that seems to be older carries something else in the header."""
MOST_ENDED = 20
"""Holds that have ended and whose tasks are known by; the last ones."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_parsed = datetime.fromisoformat
NO_TIME = (KeyError, TypeError, ValueError, OverflowError, IndexError)
"""What comes of a header that is missing, or of a foreign shape."""


class _Times:
    """One queue's counters. A plain object: this is changed with each task."""

    __slots__ = ("clock", "counts", "open_since", "paused", "resumed", "sum_s", "unknown")

    def __init__(self, resumed: float) -> None:
        self.counts = [0] * BUCKETS
        self.sum_s = 0.0
        self.paused = self.clock = self.unknown = 0
        self.resumed = resumed  # when a pause of it ended last
        self.open_since = resumed  # since when neither it is paused nor any task is held

    def value(self) -> TimeInQueue:
        return TimeInQueue(tuple(self.counts), self.sum_s, self.paused, self.clock, self.unknown)


class QueueTimes:
    """The histograms of one worker, from its start on.

    A task that waited while its queue was paused, or that a hold has held, is counted apart. To take the pause's time
    off instead would need each pause since it was sent; and what had to wait for the tasks before it, which the pause
    held up, would still count in full. As far as this worker knows: it knows the pauses and holds that it has seen.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Times] = {}
        self._lock = threading.Lock()
        self._ahead_s = 0.0  # Redis's clock, of this machine's
        self._all_resumed = 0.0  # when the pause of all queues ended last, by Redis's clock; 0: never
        self._resumed: dict[str, float] = {}
        self._paused = PauseState()
        self._holds: tuple[tuple[float, HoldRules], ...] = ()  # when each ended, by Redis's clock; inf: not yet
        self._held_until = 0.0  # when the last one did

    def set_clock(self, ahead_s: float) -> None:
        """Redis's clock is ahead of this machine's by so many seconds."""
        self._ahead_s = ahead_s

    def follow(self, state: PauseState) -> None:
        """What is paused has changed. Any thread, one at a time; before a task that was held can start."""
        before, self._paused = self._paused, state
        now, ended = time.time() + self._ahead_s, before.queues - state.queues
        if before.everything and not state.everything:
            self._all_resumed = now
            ended = ended | frozenset(self._queues)
        for queue in list(ended)[:MOST_QUEUES]:
            self._resumed[queue] = now
            if (times := self._queues.get(queue)) is not None:
                times.resumed = now
        while len(self._resumed) > MOST_QUEUES:
            del self._resumed[next(iter(self._resumed))]
        self._follow_holds(before.rules, state.rules, now)
        for times in list(self._queues.values()):
            times.open_since = max(times.resumed, self._held_until)

    def _follow_holds(self, before: HoldRules, rules: HoldRules, now: float) -> None:
        """Tasks of a hold that has ended run now; those of one that is released run while it is still there."""
        ended = tuple(hold for hold in before.holds if hold.id not in rules.ids)
        over = [one for one in self._holds if one[0] < inf]
        if ended:
            over = [(now, HoldRules(ended)), *over][:MOST_ENDED]
        self._holds = ((inf, rules), *over) if rules else tuple(over)
        self._held_until = self._holds[0][0] if self._holds else 0.0

    def _was_held(self, request: Any, queue: str, sent: float) -> bool:
        """It is of a hold that ended after it was sent, or is being released. Cost: a look into a dict for each."""
        return any(sent < until and rules.of(request, queue) for until, rules in self._holds)

    def note_in_turn(self, request: Any, message: Any) -> None:
        """As ``note``, where several threads of the pool start tasks at once."""
        with self._lock:
            self.note(request, message)

    def note(self, request: Any, message: Any) -> None:
        """A task has been started, and this is its message. One call at a time."""
        try:
            queue = message.opsdash_origin.queue
        except AttributeError:  # a broadcast, or nothing of this is known
            return
        times = self._queues.get(queue)
        if times is None and (times := self._begin(queue)) is None:
            return
        try:
            headers = message.headers
            sent = headers[SENT]
            try:
                eta = headers["eta"]
            except KeyError:  # a message of the old protocol has it elsewhere
                eta = request.eta
            if eta is not None:
                try:  # not by `request.eta`, which is in the worker's zone: to reckon with that costs 1 µs and more
                    eta_s = (_parsed(eta) - EPOCH).total_seconds()
                except NO_TIME:  # without a zone, or written in another way
                    eta_s = sent if request.eta is None else request.eta.timestamp()
                if eta_s > sent:
                    sent = eta_s
            waited_s = request.time_start + self._ahead_s - sent
        except NO_TIME:
            times.unknown += 1
            return
        if 0 < waited_s < LATE_S and sent >= times.open_since:
            times.counts[bisect_left(BOUNDS_S, waited_s)] += 1
            times.sum_s += waited_s
        elif waited_s < -EARLY_S:
            times.clock += 1
        elif not waited_s < LATE_S:  # NaN, a float too, is neither
            times.unknown += 1
        elif sent < times.resumed or self._was_held(request, queue, sent):
            times.paused += 1
        else:
            times.counts[bisect_left(BOUNDS_S, waited_s)] += 1
            times.sum_s += max(0.0, waited_s)

    def _begin(self, queue: str) -> _Times | None:
        if len(self._queues) >= MOST_QUEUES:
            return None
        resumed = max(self._all_resumed, self._resumed.get(queue, 0.0))
        times = _Times(resumed)
        times.open_since = max(resumed, self._held_until)
        return self._queues.setdefault(queue, times)

    def as_json(self, consumed: Sequence[str]) -> str:
        """Queue → its histogram since the worker began. Queues that are consumed no more go first where it is full."""
        queues = self._queues.copy()
        if len(queues) >= MOST_QUEUES:
            for queue in set(queues).difference(consumed):
                self._queues.pop(queue, None)
                del queues[queue]
        return json.dumps({queue: one.value().to_list() for queue, one in queues.items()}, separators=(",", ":"))
