"""Time in queue: from a task's sending, or its ETA where that is later, to its start; as histograms that can be added.

A histogram has fixed buckets, so those of all workers, of minutes and of hours add up to one, whichever worker has died
meanwhile. A percentile is as exact as its bucket. Standard library only.
"""

from __future__ import annotations

import json
import operator
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from opsdash.model import untrusted
from opsdash.text import as_text
from opsdash.values import frozen

BOUNDS_S = (
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 45.0),
    *(60.0, 90.0, 120.0, 180.0, 300.0, 420.0, 600.0, 900.0, 1_200.0, 1_800.0, 2_700.0),
    *(3_600.0, 5_400.0, 7_200.0, 10_800.0, 14_400.0, 21_600.0, 28_800.0, 43_200.0, 64_800.0, 86_400.0),
)
"""Upper limits of the buckets, in seconds, at most two thirds above the one before; times that objectives are made of
are among them, so that the share within an objective is exact. The last bucket, without a limit, comes after them."""
BUCKETS = len(BOUNDS_S) + 1
MOST_QUEUES = 200
"""Queues that a worker, and an entry of the history, has times of: a client can invent names."""
MOST_TASKS, MOST_SECONDS = 10**15, 1e15
"""Above every count, and every sum of times."""


def bucket_of(seconds: float) -> int:
    """The number of the bucket that a time belongs to. Cost: 0.1 µs."""
    return bisect_left(BOUNDS_S, seconds)


@frozen
class TimeInQueue:
    """How long the tasks of one queue waited that were started.

    Attributes:
        counts: Tasks by bucket. ``sum_s``: their times together.
        paused: Tasks that waited while their queue was paused, or were held: counted apart, since that time is nobody's
            fault.
        clock: Tasks that began before they were sent: the clocks of sender and worker differ.
        unknown: Tasks that don't say when they were sent.
    """

    counts: tuple[int, ...] = (0,) * BUCKETS
    sum_s: float = 0.0
    paused: int = 0
    clock: int = 0
    unknown: int = 0

    @property
    def tasks(self) -> int:
        """Those whose time is known and counts."""
        return sum(self.counts)

    @property
    def started(self) -> int:
        """All, whatever is known of them."""
        return self.tasks + self.paused + self.clock + self.unknown

    def __bool__(self) -> bool:
        """Something was started."""
        return any(self.counts) or bool(self.paused or self.clock or self.unknown)

    def __add__(self, other: TimeInQueue) -> TimeInQueue:
        return TimeInQueue(
            tuple(map(operator.add, self.counts, other.counts)),
            self.sum_s + other.sum_s,
            self.paused + other.paused,
            self.clock + other.clock,
            self.unknown + other.unknown,
        )

    def since(self, before: TimeInQueue) -> TimeInQueue:
        """What has come to an earlier count of the same process; nothing is ever below 0."""
        counts = tuple(map(operator.sub, self.counts, before.counts))
        return TimeInQueue(
            counts if min(counts) >= 0 else tuple(max(0, one) for one in counts),
            max(0.0, self.sum_s - before.sum_s),
            max(0, self.paused - before.paused),
            max(0, self.clock - before.clock),
            max(0, self.unknown - before.unknown),
        )

    def percentile(self, share: float) -> float | None:
        """The time within which this share of the tasks began, in seconds; None where none is known.

        The true one is in the same bucket: in between it is estimated as if the bucket's tasks were spread evenly. Of
        the last bucket nothing but its lower limit is known.
        """
        wanted, found = share * self.tasks, 0
        for bucket, number in enumerate(self.counts):
            if not number or (found := found + number) < wanted:
                continue
            if bucket == len(BOUNDS_S):
                return BOUNDS_S[-1]
            low = BOUNDS_S[bucket - 1] if bucket else 0.0
            return low + (BOUNDS_S[bucket] - low) * max(0.0, min(1.0, 1 - (found - wanted) / number))
        return None

    def within(self, seconds: float) -> float | None:
        """The share of the tasks that began within so many seconds; exact for each of ``BOUNDS_S``. None: no task."""
        if not (tasks := self.tasks):
            return None
        return sum(islice(self.counts, bucket_of(seconds) + (seconds in BOUNDS_S))) / tasks

    def to_list(self) -> list[float]:
        """As JSON carries it: sum, paused, clock, unknown, then number and count of each bucket that is not empty."""
        pairs = (part for bucket, number in enumerate(self.counts) if number for part in (bucket, number))
        return [round(self.sum_s, 3), self.paused, self.clock, self.unknown, *pairs]

    @classmethod
    def from_list(cls, value: Any) -> TimeInQueue | None:
        """What ``to_list`` made; None for anything else: anybody may write it."""
        if not isinstance(value, list) or not 4 <= len(value) <= 4 + 2 * BUCKETS or len(value) % 2:
            return None
        total, *numbers = value
        # Each worker's report has some, at each read: one look at all of them, in place of `untrusted.whole` for each.
        if type(total) not in (float, int) or not 0 <= total < MOST_SECONDS or set(map(type, numbers)) != {int}:
            return None
        if min(numbers) < 0 or max(numbers) >= MOST_TASKS or max(numbers[3::2], default=0) >= BUCKETS:
            return None
        counts = [0] * BUCKETS
        for bucket, number in zip(numbers[3::2], numbers[4::2], strict=True):
            counts[bucket] = number
        return cls(tuple(counts), total, *numbers[:3])


NOTHING = TimeInQueue()


def total(parts: Iterable[TimeInQueue]) -> TimeInQueue:
    """All of them together."""
    return sum(parts, NOTHING)


def by_queue(value: Any) -> dict[str, TimeInQueue]:
    """Queue → its times, of a mapping as JSON carries it; what can't be read is left out."""
    found = ((name, TimeInQueue.from_list(one)) for name, one in islice(untrusted.mapping(value).items(), MOST_QUEUES))
    return {as_text(name): one for name, one in found if one is not None and 0 < len(name) <= untrusted.LONG}


def reported(text: str) -> dict[str, TimeInQueue]:
    """The same, of a worker's report; nothing of what is no JSON. Cost: some 10 µs for each queue.

    By Python's own parser: each number is looked at here, and `untrusted.parsed` takes three times as long.
    """
    try:
        return by_queue(json.loads(text))
    except (ValueError, RecursionError):
        return {}


@frozen(kw_only=True)
class Objective:
    """What was promised for a queue: ``95 % within 30s over 1h``.

    Attributes:
        share: From 0 to 1: so many of its tasks begin within ``within_s`` seconds.
        over_s: Of those that began in the last so many seconds.
    """

    share: float
    within_s: float
    over_s: int


@frozen(kw_only=True)
class Wait:
    """How long tasks waited that began in the last ``span_s`` seconds.

    Attributes:
        tasks: How many they are. ``p50_s``, ``p95_s``, ``p99_s``: within which half, 95 % and 99 % of them began;
            None: none did.
        paused: Others that waited while their queue was paused, or were held. ``clock``: that began before they were
            sent, by their senders' clocks. ``unknown``: that don't say when they were sent. All are left out of the
            times.
    """

    span_s: int
    tasks: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    paused: int = 0
    clock: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, times: TimeInQueue, span_s: int) -> Wait:
        """The figures of a histogram."""
        p50, p95, p99 = (times.percentile(share) for share in (0.5, 0.95, 0.99))
        return cls(
            span_s=span_s,
            tasks=times.tasks,
            p50_s=_round(p50),
            p95_s=_round(p95),
            p99_s=_round(p99),
            paused=times.paused,
            clock=times.clock,
            unknown=times.unknown,
        )


@frozen(kw_only=True)
class ObjectiveStatus:
    """How an objective is kept.

    Attributes:
        wanted: The share that was promised, ``within_s`` and ``over_s`` as in `Objective`.
        share: The share that was reached; None: no task began in that time, or none says when it was sent.
        tasks: Of so many.
    """

    wanted: float
    within_s: float
    over_s: int
    share: float | None = None
    tasks: int = 0

    @property
    def kept(self) -> bool | None:
        """Whether as many began in time as was promised; None: not known."""
        return None if self.share is None else self.share >= self.wanted


@frozen(kw_only=True)
class QueuePace:
    """How a queue is worked off.

    Attributes:
        waits: Over the last 5 minutes, and over the last hour.
        objective: None: there is none for this queue.
        arriving_per_s, started_per_s: Tasks that came in, and that were started, over the last minutes; None: not
            known, or paused meanwhile.
        falling_behind: More come in than are started, and the queue grows; None: not known.
        drained_in_s: An estimate of how long it takes until nothing waits, at this pace; None: it does not shrink, or
            that is not known.
    """

    waits: tuple[Wait, ...] = ()
    objective: ObjectiveStatus | None = None
    arriving_per_s: float | None = None
    started_per_s: float | None = None
    falling_behind: bool | None = None
    drained_in_s: float | None = None

    @property
    def recent(self) -> Wait | None:
        """The wait over the shortest time."""
        return self.waits[0] if self.waits else None


@dataclass(slots=True)
class Sum:
    """Histograms of many queues that are added up as they come, and taken away as they get old."""

    times: dict[str, TimeInQueue] = field(default_factory=dict)

    def add(self, more: Iterable[tuple[str, TimeInQueue]]) -> None:
        """Adds these."""
        for queue, one in more:
            self.times[queue] = self.times.get(queue, NOTHING) + one

    def take(self, less: Iterable[tuple[str, TimeInQueue]]) -> None:
        """Takes away what was added; a queue without any is forgotten."""
        for queue, one in less:
            left = self.times.get(queue, NOTHING).since(one)
            if left:
                self.times[queue] = left
            else:
                self.times.pop(queue, None)


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
