"""History: how deep each queue was and how fast it was worked off, in two bounded Redis streams.

One console at a time writes it, under a lease, so that all rates of a stretch are one console's; another takes over a
few seconds after that one died. A bucket's time, by Redis's own clock, is its entry's id: a stream takes each id once.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from opsdash import lua
from opsdash.errors import OpsdashError, Unavailable
from opsdash.model import HeldTasks, HistoryPoint, QueueStats, Snapshot, WorkerStats, time_in_queue, untrusted
from opsdash.model.time_in_queue import NOTHING, TimeInQueue
from opsdash.services import dataframes
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.monitoring.times_in_queue import TimesInQueue
from opsdash.text import format_duration
from opsdash.values import frozen

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LEASE_MS = 5_000
"""A console that has not recorded for so long writes the history no more: another one does."""
LARGE_POINT = 64 * 1024
"""Bytes of one entry: 200 queues take less."""
GAP = 2.5
"""Steps between two reads above which what happened between them belongs to no bucket."""
MAX_QUEUES = 200
"""Queues that one entry tells of: what a stray worker names must not fill the broker."""


@frozen
class Series:
    """One resolution: a point every ``step_ms``, ``points`` of them, under a name."""

    name: str
    step_ms: int
    points: int

    @property
    def span_s(self) -> float:
        """How far back it goes."""
        return self.step_ms * self.points / 1000


FINE, COARSE = Series("10s", 10_000, 360), Series("1m", 60_000, 1440)
SERIES = (FINE, COARSE)

_RECORD = lua.load(__name__, "history_record")

FAILED = None
"""In place of a queue's name, which counts its started tasks: the failed tasks of all queues."""
Started = Mapping[tuple[str, int], Mapping[str | None, int]]
"""(hostname, pid) → queue → tasks started since that worker began; and how many ended in failure."""


class History:
    """Records snapshots, and reads them back as points.

    Attributes:
        times: What workers have reported of times in queues so far; who reads the reports adds to it.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker, self.times = broker, TimesInQueue()
        self._writer = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        # Current bucket, when it began here, totals then, times in queues then.
        self._since: dict[Series, tuple[int, float, Started, dict[str, TimeInQueue]]] = {}
        self._failing = False

    def record(self, snapshot: Snapshot) -> None:
        """Adds the snapshot to every series whose bucket is not written yet, unless another console writes them.

        Never raises for an outage.

        Cost: one round trip. A subscriber of the poller: nothing else may call it meanwhile.
        """
        if snapshot.redis_error or snapshot.redis_age_s is None:
            return  # nothing was read: a gap, and drawn as one
        now_s, totals, times = time.monotonic(), _totals(snapshot.workers), self.times.totals()
        keys = [self._broker.keys.history_writer, *(self._key(series) for series in SERIES)]
        arguments: list[Any] = [self._writer, LEASE_MS]
        for series in SERIES:
            arguments += [series.step_ms, series.points, self._payload(series, snapshot, totals, times, now_s)]
        try:
            with self._broker.reading():
                buckets: list[int] = self._broker.client.eval(_RECORD, len(keys), *keys, *arguments)
        except OpsdashError as error:
            if not self._failing:  # once, not at every read of a long outage
                log.warning("history is not recorded: %s", error)
            self._failing = True
            return
        self._failing = False
        for series, bucket in zip(SERIES, buckets, strict=True):
            if series not in self._since or self._since[series][0] != bucket:
                self._since[series] = (bucket, now_s, totals, times)

    def read(self, span_s: float = FINE.span_s) -> tuple[HistoryPoint, ...]:
        """The points of the last ``span_s`` seconds, oldest first, from the finest series that goes back so far.

        Cost: one XRANGE. A missing bucket is missing: nobody looked then.
        """
        series = next((s for s in SERIES if span_s <= s.span_s), COARSE)
        return self.read_series(series, span_s)[1]

    def read_series(
        self, series: Series, span_s: float, after: datetime | None = None
    ) -> tuple[float, tuple[HistoryPoint, ...]]:
        """Redis's time, and the points of one series of the last ``span_s`` seconds; only those ``after`` a time."""
        with self._broker.reading():
            seconds, micros = self._broker.client.time()
            now = seconds + micros / 1e6
            since, until = int((now - min(span_s, series.span_s)) * 1000), int(now * 1000) + series.step_ms
            if after is not None:
                since = max(since, int(after.timestamp() * 1000) + 1)
            key = self._key(series)
            entries = bounded_reads.points(self._broker.client, key, since, until, series.points, LARGE_POINT)
        return now, tuple(p for p in (_point(entry, fields, series) for entry, fields in entries) if p is not None)

    def to_frame(self, span_s: float = FINE.span_s) -> pd.DataFrame:
        """The same as a typed pandas frame: a row per point and queue, with ``paused`` (its own pause, or that of all).

        Warns where the history does not go back so far.
        """
        if span_s > COARSE.span_s:
            kept = format_duration(COARSE.span_s)
            said = f"The history goes back {kept}; the frame has no more of the {format_duration(span_s)} asked for."
            warnings.warn(said, stacklevel=2)
        return dataframes.of_history(self.read(span_s))

    def arriving_per_s(self, queue: str, span_s: float = 120.0) -> float | None:
        """Tasks that came into a queue per second lately: what was started, and what there is more. None: not known."""
        try:
            known = [p for p in self.read(span_s) if queue in p.waiting and queue in p.started_per_s]
        except Unavailable:
            return None
        if len(known) < 2:
            return None
        elapsed_s = (known[-1].at - known[0].at).total_seconds()
        if elapsed_s <= 0:
            return None
        started = sum(p.started_per_s[queue] for p in known[1:]) / (len(known) - 1)
        there = [point.waiting[queue] + point.held.get(queue, 0) for point in (known[0], known[-1])]
        return max(0.0, started + (there[1] - there[0]) / elapsed_s)

    def _key(self, series: Series) -> str:
        return self._broker.keys.history(series.name)

    def _payload(
        self, series: Series, snapshot: Snapshot, totals: Started, times: Mapping[str, TimeInQueue], now_s: float
    ) -> str:
        rates: Mapping[str | None, float] = {}
        waited: dict[str, list[float]] = {}
        if series in self._since:
            _, since_s, before, times_before = self._since[series]
            if now_s - since_s <= series.step_ms / 1000 * GAP:  # else it is no rate of this bucket's
                rates = _rates(before, totals, now_s - since_s)
                new = ((queue, one.since(times_before.get(queue, NOTHING))) for queue, one in times.items())
                waited = {queue: one.to_list() for queue, one in new if one}
        online = [w for w in snapshot.workers if w.reports]
        # Nobody reports, and some did a moment ago: after an outage they are on their way back. Zero would be a guess.
        known = bool(online) or not any(w.state == "silent" for w in snapshot.workers)
        queues = [q for q in snapshot.queues[:MAX_QUEUES] if not q.error]
        failed = rates.get(FAILED)
        held = held_by_queue(snapshot.holds)
        point = {
            "queues": {q.name: [q.waiting, _rate_of(q, rates)] for q in queues},
            "oldest": {q.name: round(q.oldest_s, 1) for q in queues if q.oldest_s is not None},
            **({"held": {q.name: held[q.name] for q in queues if held[q.name]}} if held else {}),
            "paused": sorted([*snapshot.paused_queues, *(["*"] if snapshot.pause else [])]),
            "online": len(online) if known else None,
            "active": sum(w.active for w in online) if known else None,
            "slots": sum(w.concurrency for w in online) if known else None,
            "failed": None if failed is None else round(failed, 3),
            "redis_ms": None if snapshot.redis_ms is None else round(snapshot.redis_ms, 2),
        }
        text = json.dumps({**point, "times": waited} if waited else point, separators=(",", ":"))
        return text if len(text) < LARGE_POINT else json.dumps(point, separators=(",", ":"))


def held_by_queue(holds: Iterable[HeldTasks]) -> Counter[str]:
    """Queue → tasks that are set aside, by whichever hold."""
    found = Counter[str]()
    for one in holds:
        found.update(one.by_queue)
    return found


def _totals(workers: tuple[WorkerStats, ...]) -> Started:
    """Of those that report; a queue that one takes tasks from and has started none of counts 0."""
    found: dict[tuple[str, int], dict[str | None, int]] = {}
    for worker in workers:
        if worker.reports:
            started: dict[str | None, int] = dict.fromkeys(worker.queues, 0)
            started.update(worker.started.items())
            found[worker.hostname, worker.pid] = started
            if worker.failed is not None:
                started[FAILED] = worker.failed
    return found


def _rate_of(queue: QueueStats, rates: Mapping[str | None, float]) -> float | None:
    """Tasks of the queue that were started per second; None where no worker was there to tell, before and now."""
    if (rate := rates.get(queue.name)) is not None:
        return round(rate, 3)
    return 0.0 if rates and queue.consumed is False else None


def _rates(before: Started, now: Started, elapsed_s: float) -> dict[str | None, float]:
    """Tasks started per second and queue, and ``FAILED``; a worker that was not there before can't be compared."""
    if elapsed_s <= 0:
        return {}
    rates: dict[str | None, float] = {}
    for worker, totals in now.items():
        earlier = before.get(worker)
        if earlier is None:
            continue
        for queue, total in totals.items():
            rates[queue] = rates.get(queue, 0.0) + max(0, total - earlier.get(queue, 0)) / elapsed_s
    return rates


def _point(entry: str, fields: Mapping[str, str], series: Series) -> HistoryPoint | None:
    """One entry; None for what no opsdash has written."""
    try:
        raw = untrusted.mapping(untrusted.parsed(fields["point"], LARGE_POINT))
        queues: dict[str, Any] = raw["queues"]
        return HistoryPoint(
            at=datetime.fromtimestamp(int(entry.split("-")[0]) / 1000, UTC),
            step=timedelta(milliseconds=series.step_ms),
            waiting={str(name): _whole(waiting) for name, (waiting, _) in queues.items()},
            started_per_s={str(name): _rate(rate) for name, (_, rate) in queues.items() if rate is not None},
            oldest_s={str(name): _rate(age) for name, age in raw.get("oldest", {}).items()},
            paused=frozenset(map(str, raw.get("paused", ()))),
            online=untrusted.whole(raw.get("online")),
            active=untrusted.whole(raw.get("active")),
            slots=untrusted.whole(raw.get("slots")),
            redis_ms=untrusted.figure(raw.get("redis_ms")),
            failed_per_s=untrusted.figure(raw.get("failed")),
            times=time_in_queue.by_queue(raw.get("times")),
            held=untrusted.counts(raw.get("held")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError):
        return None


def _whole(value: Any) -> int:
    if (number := untrusted.whole(value)) is None:
        raise ValueError("no count")
    return number


def _rate(value: Any) -> float:
    if (number := untrusted.figure(value)) is None:
        raise ValueError("no rate")
    return number
