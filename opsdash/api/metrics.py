"""``/metrics`` for Prometheus: what the poller has read last. A scrape asks neither Redis nor the database."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from opsdash import __version__
from opsdash.api.handler import Handler
from opsdash.api.limit_metrics import of_limits
from opsdash.api.reads import FRESH_S
from opsdash.api.sent_metrics import of_notifications, of_push
from opsdash.keys import EVERYTHING
from opsdash.model import NotificationFigures, QueueStats, Snapshot, Status, WorkerStats
from opsdash.model.time_in_queue import BOUNDS_S, TimeInQueue
from opsdash.model.verdict import State
from opsdash.operation import registry
from opsdash.services.console import Console
from opsdash.services.monitoring.failure_figures import FailureFigures
from opsdash.services.monitoring.metrics import MetricsReader
from opsdash.services.pause.verdict import verdict
from opsdash.services.push.pusher import Pusher
from opsdash.services.threads import PROBES

CONDITIONS = ("online", "quiet", "draining", "drained", "stalled", "silent", "offline")
MAX_QUEUES = 200
MAX_WORKERS = 1_000
MAX_FAILED = 200
"""Tasks whose failures have series by name, for each kind; those with the most."""
MAX_NAMES = 50
"""Names of operations beyond the registry's, from other versions' entries."""
OTHER = "other"
"""The label of everything beyond those bounds."""
BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1_800)
LIMITS_S = {0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400}
"""Of the buckets of times in queues: 43 for each of 200 queues would be half of all series."""
REFRESH_S = 2.0
"""A scrape of a console whose poller hangs waits this long, then shows what there is, and how old it is."""
MAX_FORMATS = 4
"""Rendered ahead: as many as different scrapers ask for; the name of one has words of the client's in it."""
AGE = "opsdash_snapshot_age_seconds"


class Meter(Collector):
    """One console's metrics, in their own registry.

    Follows the poller from the first scrape on, so that the counters of operations need no read of the whole log: they
    begin at 0, as Prometheus expects of a process that has just started. What it renders is rendered in the poller's
    thread, once for each snapshot: a scrape finds its text ready, whatever the event loop has to do.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        pusher = Pusher(console.settings, broker=console.broker, audit=console.audit)
        behind = pusher.behind if console.settings.audit_push else None
        self._metrics = MetricsReader(console.audit, self._count, behind)
        self._failures = FailureFigures(console.failed)
        self._following = False
        self._lock = threading.Lock()
        self._formats: dict[str, Callable[[CollectorRegistry], bytes]] = {}
        self._ready: tuple[Snapshot | None, dict[str, bytes]] = (None, {})
        self._names: set[str] = set(registry())
        self.registry = CollectorRegistry()
        self._operations = Counter(
            "opsdash_operations",
            "Operations that ended, from page, command line, API and Python, since this console's first scrape.",
            ["operation", "status"],
            registry=self.registry,
        )
        self._took = Histogram(
            "opsdash_operation_duration_seconds",
            "How long operations took.",
            ["operation"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._begun: set[str] = set()
        self._begin([name for name, kind in registry().items() if not kind.turn_on])
        self.registry.register(self)

    @property
    def following(self) -> bool:
        """Whether it has joined the poller."""
        return self._following

    def follow(self) -> None:
        """Joins the poller; again does nothing. Cost: where a snapshot is there, a read of Redis and the database."""
        with self._lock:
            if not self._following:
                self._following = True
                self._console.poller.subscribe(self._take)

    def text(self, accept: str) -> tuple[bytes, str]:
        """What a scraper that accepts this is answered, and its type. Cost: none, but for a format's first scrapes.

        The age is of now, so it alone is written now.
        """
        render, kind = choose_encoder(accept)
        snapshot, texts = self._ready
        text = texts.get(kind)
        if text is None:
            snapshot, text = self._console.poller.latest, render(self.registry)
            if len(self._formats) < MAX_FORMATS:
                self._formats = {**self._formats, kind: render}
        if snapshot is None:
            return text, kind
        age_s = (datetime.now(UTC) - snapshot.taken_at).total_seconds()
        age = f"# HELP {AGE} Age of the snapshot that this scrape shows.\n# TYPE {AGE} gauge\n{AGE} {age_s}\n"
        return age.encode() + text, kind

    def _begin(self, names: Iterable[str]) -> None:
        """From 0 on: ``increase()`` sees the first one too."""
        for name in {*names} - self._begun:
            self._begun.add(name)
            self._took.labels(name)
            for status in Status:
                if status is not Status.IN_PROGRESS:
                    self._operations.labels(name, status.value)

    def _take(self, snapshot: Snapshot) -> None:
        self._begin(name for name, kind in registry().items() if kind.is_used(snapshot))
        self._metrics.take(snapshot)
        self._failures.take(snapshot)
        self._ready = snapshot, {kind: render(self.registry) for kind, render in self._formats.items()}

    def collect(self) -> Iterator[Metric]:
        """The gauges, from the latest snapshot. Cost: no round trip; 4 ms for 500 workers."""
        yield _gauge("opsdash_build_info", "The version of opsdash.", [({"version": __version__}, 1)])
        snapshot = self._console.poller.latest
        if snapshot is None:
            return
        up = {"redis": snapshot.redis_error, "database": snapshot.database_error}
        yield _gauge(
            "opsdash_up",
            "1 if the last read was answered.",
            [({"service": service}, not error) for service, error in up.items()],
        )
        # What was not read now is a gap: Prometheus would draw an old value as one of this moment.
        if snapshot.redis_age_s is not None and not snapshot.redis_error:
            yield from _of_queues(snapshot)
            yield from _of_times(self._console.history.times.totals(), snapshot)
            yield from _of_workers(snapshot)
            yield from _of_failures(self._failures)
            yield from _of_holds(snapshot)
            yield from of_limits(snapshot)
            yield _gauge("opsdash_redis_seconds", "Round trip to Redis.", [({}, (snapshot.redis_ms or 0.0) / 1_000)])
            yield _gauge("opsdash_trash_tasks", "Cleared tasks that can be restored.", [({}, _trashed(snapshot))])
            if snapshot.spooled is not None:
                text = "Audit steps that wait in the outbox for the database."
                yield _gauge("opsdash_audit_spool_length", text, [({}, snapshot.spooled)])
            yield from of_notifications(snapshot.notifications or NotificationFigures())
        yield of_push(self._metrics.unpushed)
        if self._metrics.chain_ok is not None:
            yield _gauge(
                "opsdash_audit_chain_ok",
                "0 when one of the newest entries breaks the hash chain of the audit log.",
                [({}, self._metrics.chain_ok)],
            )
        if self._metrics.unkeyed_through is not None:
            yield _gauge(
                "opsdash_audit_unkeyed_through",
                "Entries of the audit log up to this number have no key; 0: none.",
                [({}, self._metrics.unkeyed_through)],
            )

    def _count(self, operation: str, status: str, took_s: float | None) -> None:
        if operation not in self._names:
            if len(self._names) < len(registry()) + MAX_NAMES:
                self._names.add(operation)
            else:
                operation = OTHER
        self._operations.labels(operation, status).inc()
        if took_s is not None and status != Status.REFUSED:  # a refusal takes no time worth a figure
            self._took.labels(operation).observe(took_s)


class Metrics(Handler):
    """``/metrics`` for Prometheus."""

    def initialize(self, console: Console, meter: Meter) -> None:  # type: ignore[override]
        """Tornado's constructor; ``meter`` lasts as long as the server."""
        super().initialize(console)
        self.meter = meter

    async def get(self) -> None:
        """The text of all metrics."""
        if not self.meter.following:
            await PROBES.run(self.meter.follow)
        latest = self.console.poller.latest
        if latest is None or (datetime.now(UTC) - latest.taken_at).total_seconds() > FRESH_S:
            reading = asyncio.ensure_future(self.console.poller.refreshed())
            await asyncio.wait([reading], timeout=REFRESH_S)
        text, kind = self.meter.text(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", kind)
        self.finish(text)


def _of_holds(snapshot: Snapshot) -> Iterator[Metric]:
    """Nothing while nothing is held. There are 100 holds at most."""
    if not snapshot.holds:
        return
    named = [({"kind": one.hold.kind, "name": one.hold.name, "queue": one.hold.queue}, one) for one in snapshot.holds]
    yield _gauge("opsdash_held_tasks", "Tasks that a hold has set aside.", [(of, one.held) for of, one in named])
    yield _gauge(
        "opsdash_held_oldest_seconds",
        "For how long the oldest task of a hold has been set aside.",
        [
            (of, max(0.0, (snapshot.taken_at - one.oldest_at).total_seconds()) if one.oldest_at else 0.0)
            for of, one in named
        ],
    )


def _of_queues(snapshot: Snapshot) -> Iterator[Metric]:
    named, rest = snapshot.queues[:MAX_QUEUES], snapshot.queues[MAX_QUEUES:]
    waiting: list[tuple[dict[str, str], float]] = []
    for queue in named:
        steps = queue.by_priority or ({} if queue.error else {0: 0})
        waiting += [({"queue": queue.name, "priority": str(step)}, n) for step, n in steps.items()]
    waiting += [({"queue": OTHER, "priority": str(step)}, n) for step, n in _together(rest).items()]
    yield _gauge("opsdash_queue_waiting", "Pending tasks in the queue's lists.", waiting)
    yield _gauge(
        "opsdash_queue_oldest_seconds",
        "Waiting time of the oldest of the next tasks; a lower limit for a task without a send time.",
        [
            ({"queue": queue.name}, queue.oldest_s or 0.0)
            for queue in named
            if queue.oldest_s is not None or not (queue.waiting or queue.error)
        ],
    )
    yield _gauge("opsdash_paused", "1 while all processing is paused.", [({}, snapshot.pause is not None)])
    yield _gauge(
        "opsdash_queue_paused",
        "1 while the queue is paused, by its own pause or by the pause of all queues.",
        [({"queue": queue.name}, queue.paused) for queue in named],
    )
    names: list[str | None] = [None, *snapshot.paused_queues]
    found = {name: verdict(snapshot, name) for name in names[: MAX_QUEUES + 1]}
    yield _gauge(
        "opsdash_pause_verdict",
        "1 for the verdict of a pause, of one queue or of all queues (*). Only held is safe.",
        [
            ({"queue": name or EVERYTHING, "state": state.value}, answer.state is state)
            for name, answer in found.items()
            if answer is not None
            for state in State
        ],
    )
    yield _gauge(
        "opsdash_unacked", "Messages fetched and not acknowledged yet, of all queues.", [({}, snapshot.unacked)]
    )


def _of_times(totals: Mapping[str, TimeInQueue], snapshot: Snapshot) -> Iterator[Metric]:
    """Times in queues as this console has added them up, and how the objectives are kept."""
    family = HistogramMetricFamily(
        "opsdash_time_in_queue_seconds",
        "From sending, or the ETA, to the start, since this console began to look; without pauses.",
        labels=["queue"],
    )
    apart = CounterMetricFamily(
        "opsdash_time_in_queue_apart", "Tasks whose time in queue is not in the histogram.", labels=["queue", "why"]
    )
    for queue, times in list(totals.items())[:MAX_QUEUES]:
        sums = list(accumulate(times.counts))
        buckets = [(f"{limit:g}", sums[bucket]) for bucket, limit in enumerate(BOUNDS_S) if limit in LIMITS_S]
        family.add_metric([queue], [*buckets, ("+Inf", sums[-1])], times.sum_s)
        for why in ("paused", "clock", "unknown"):
            apart.add_metric([queue, why], getattr(times, why))
    yield family
    yield apart
    paces = [(q.name, q.pace) for q in snapshot.queues[:MAX_QUEUES] if q.pace is not None]
    kept = [(name, pace.objective) for name, pace in paces if pace.objective is not None]
    yield _gauge(
        "opsdash_objective_ratio",
        "Share of the tasks that began within the objective's time, over the objective's span.",
        [({"queue": name}, one.share) for name, one in kept if one.share is not None],
    )
    yield _gauge(
        "opsdash_objective_target_ratio",
        "The share that the objective asks for.",
        [({"queue": n}, o.wanted) for n, o in kept],
    )
    yield _gauge(
        "opsdash_queue_falling_behind",
        "1 while more tasks come into the queue than are started, over 5 minutes.",
        [({"queue": name}, pace.falling_behind) for name, pace in paces if pace.falling_behind is not None],
    )
    yield _gauge(
        "opsdash_queue_drained_in_seconds",
        "Estimated time until nothing waits, while the queue shrinks.",
        [({"queue": name}, pace.drained_in_s) for name, pace in paces if pace.drained_in_s is not None],
    )


def _of_workers(snapshot: Snapshot) -> Iterator[Metric]:
    # Those that are up first: what is cut off at the bound is the oldest news.
    ordered = sorted(snapshot.workers, key=lambda worker: worker.state != "online")
    named, rest = ordered[:MAX_WORKERS], ordered[MAX_WORKERS:]
    up: list[tuple[dict[str, str], float]] = [({"worker": w.hostname}, w.state == "online") for w in named]
    if rest:
        up.append(({"worker": OTHER}, all(worker.state == "online" for worker in rest)))
    yield _gauge("opsdash_worker_up", "1 while the worker reports and its event loop runs.", up)
    # The last report of a silent worker still counts.
    yield from _of_reports(*([w for w in part if w.state != "offline"] for part in (named, rest)))
    states = Tally(worker.condition for worker in snapshot.workers)
    yield _gauge(
        "opsdash_workers",
        "Workers by state; online are those that take tasks.",
        [({"state": state}, states[state]) for state in CONDITIONS],
    )
    known = [worker for worker in snapshot.workers if worker.state != "offline"]
    yield _gauge(
        "opsdash_tasks_held",
        "Tasks in workers, by state.",
        [({"state": state}, _sum(known, state)) for state in ("active", "reserved", "scheduled")],
    )
    yield _gauge(
        "opsdash_worker_slots",
        "Tasks that can run at once.",
        [({}, _sum(known, "concurrency"))],
    )
    if snapshot.others is not None:
        yield _gauge("opsdash_workers_without_plugin", "Workers that a pause can't stop.", [({}, len(snapshot.others))])


def _of_reports(named: list[WorkerStats], rest: list[WorkerStats]) -> Iterator[Metric]:
    """What workers that report tell of themselves; the rest together under one label."""
    failed = [({"worker": worker.hostname}, worker.failed) for worker in named if worker.failed is not None]
    loads = [({"worker": worker.hostname}, worker.load) for worker in named if worker.load is not None]
    if rest:
        failed.append(({"worker": OTHER}, _sum(rest, "failed")))
    if known := [worker.load for worker in rest if worker.load is not None]:
        loads.append(({"worker": OTHER}, max(known)))
    family = CounterMetricFamily("opsdash_worker_failed", "Tasks that ended in failure since the worker started.")
    for labels, number in failed:
        family.add_sample("opsdash_worker_failed_total", labels, number)
    yield family
    yield _gauge("opsdash_worker_load", "One-minute load average of the worker's machine.", loads)


def _of_failures(figures: FailureFigures) -> Iterator[Metric]:
    """What workers have kept and counted of failed tasks; nothing until it was read."""
    if not figures.known:
        return
    tally: Tally[tuple[str, str]] = Tally()
    for group in figures.groups:
        tally[group.task, group.kind] += group.count
    most = {task for (task, _), _ in tally.most_common(MAX_FAILED)}
    told: Tally[tuple[str, str]] = Tally()
    for (task, kind), number in tally.items():
        told[task if task in most else OTHER, kind] += number
    yield _gauge(
        "opsdash_failures",
        "Failures by task and kind, within the time for which they are kept.",
        [({"task": task, "kind": kind}, number) for (task, kind), number in told.items()],
    )
    yield _gauge("opsdash_failures_kept", "Failed tasks that are kept.", [({}, figures.kept)])
    yield _gauge("opsdash_failures_not_kept", "Failures that were counted and not kept.", [({}, figures.not_kept)])
    yield _gauge("opsdash_failures_bytes", "Bytes of Redis that kept tasks take.", [({}, figures.size_bytes)])


def _sum(workers: list[WorkerStats], field: str) -> int:
    return sum(int(getattr(worker, field) or 0) for worker in workers)


def _together(queues: tuple[QueueStats, ...]) -> Tally[int]:
    total: Tally[int] = Tally()
    for queue in queues:
        total.update(queue.by_priority or {0: 0})
    return total


def _trashed(snapshot: Snapshot) -> int:
    return sum(entry.count for entry in snapshot.trash)


def _gauge(name: str, text: str, samples: list[tuple[dict[str, Any], Any]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    for labels, value in samples:
        family.add_sample(name, labels, float(value))
    return family
