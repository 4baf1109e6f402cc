"""From workers, and what they run, to rows: plain functions on plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from opsdash.model import OtherWorker, RunningTask, WorkerStats
from opsdash.operation import Operation
from opsdash.operations import (
    Autoscale,
    DismissWorker,
    QuietWorker,
    ResizePool,
    RestartPool,
    RevokeTask,
    ShutdownWorker,
    WakeWorker,
)
from opsdash.services.workers.pools import RESIZABLE
from opsdash.text import format_duration
from opsdash.views.rows import May, Row, act, known, steady

FRESH_S = 5.0
"""A worker reports every 2 s: up to here its heartbeat is "just now", and need not travel to every page."""
_TONES = {"online": "ok", "quiet": "warn", "stalled": "warn", "silent": "bad", "offline": "bad"}
_ORDER = {"silent": 1, "stalled": 1, "offline": 4}
"""What a user has made quiet stays in its place, or the row would go from under the pointer."""
_TAKING = 3


def worker_rows(
    workers: Iterable[WorkerStats],
    others: Iterable[OtherWorker] = (),
    *,
    may: May,
    paused: bool = False,
    now: datetime | None = None,
    before: Mapping[str, Row] = MappingProxyType({}),
) -> dict[str, Row]:
    """One row per worker by name; ``rank`` puts what needs a look first and what is gone last.

    Args:
        workers: As last reported.
        others: Unmanaged workers, as they last answered.
        may: What the user may do.
        paused: Everything is meant to be paused: a worker that has not stopped is marked.
        now: When that was read.
        before: The rows of the last read: a start that moved by less than two seconds has not moved.
    """
    held = {_name(w): _worker_row(w, paused, now, before.get(_name(w), {}), may) for w in workers}
    for other in others:
        key = f"other:{other.hostname}"
        while key in held:  # a worker may be called like that
            key = f"other:{key}"
        held[key] = _other_row(other, paused, may)
    return held


def _worker_row(worker: WorkerStats, paused: bool, now: datetime | None, before: Row, may: May) -> Row:
    heard_s, state = worker.heartbeat_at.timestamp(), worker.condition
    served = list(worker.queues) or before.get("served") or sorted(worker.started)
    silent_s = 0.0 if now is None else (now - worker.heartbeat_at).total_seconds()
    return known(
        rank=_ORDER.get(state, _TAKING),
        hostname=worker.hostname,
        state=[_TONES.get(state, "warn"), state, _remark(worker, state, served)],
        since=steady(heard_s - worker.uptime_s, before.get("since")) if worker.reports else None,
        active=worker.active,
        slots=worker.concurrency,
        processed=worker.processed,
        failed=worker.failed,
        reserved=worker.reserved,
        scheduled=worker.scheduled,
        oldest=steady(heard_s - worker.oldest_s, before.get("oldest")) if worker.oldest_s is not None else None,
        load=worker.load,
        memory=worker.memory_bytes,
        seen=round(heard_s) if silent_s > FRESH_S else None,
        queues=", ".join(worker.queues) or None,
        served=served,
        started=", ".join(f"{queue} {total:,}" for queue, total in sorted(worker.started.items())),
        pool=f"{worker.pool} \N{MULTIPLICATION SIGN} {worker.concurrency}" if worker.concurrency else worker.pool,
        pid=worker.pid,
        epoch=worker.epoch,
        version=worker.version,
        build=worker.build or None,
        pause=_pause_applied(worker, paused),
        acts=_acts(bool(worker.queues), may, worker.pool) if state in {"online", "quiet"} else _gone(worker, may),
    )


def _name(worker: WorkerStats) -> str:
    """One that shares its hostname with another has its own name on the list."""
    return worker.record or worker.hostname


def _acts(takes: bool, may: May, pool: str = "") -> list[Row] | None:
    """What may be done to a worker that answers. A courtesy: the service refuses what can't be."""
    acts: list[tuple[type[Operation], str, str]] = [
        (QuietWorker, "Quiet", "Takes no more tasks") if takes else (WakeWorker, "Wake", "Takes tasks again")
    ]
    if not pool or pool in RESIZABLE:
        acts.append((ResizePool, "Resize pool", "More or fewer slots, until it restarts"))
        acts.append((Autoscale, "Autoscale", "Other bounds for its autoscaler"))
    if pool in ("", "prefork"):
        acts.append((RestartPool, "Restart pool", "New processes; running tasks finish"))
    acts.append((ShutdownWorker, "Shut down", "It finishes its running tasks and ends"))
    usual = (QuietWorker, WakeWorker)
    return [act(kind, label, help_, usual=kind in usual) for kind, label, help_ in acts if may(kind)] or None


def _gone(worker: WorkerStats, may: May) -> list[Row] | None:
    """What may be done to one that does not report."""
    if worker.reports or not may(DismissWorker):
        return None
    return [act(DismissWorker, "Dismiss", "Forget it, once you know that its process has ended", usual=True)]


def _other_row(other: OtherWorker, paused: bool, may: May) -> Row:
    """What Celery's remote control reports about an unmanaged worker; the rest is not known."""
    told = "not managed by opsdash" if other.queues or other.active or not paused else "sent cancel_consumer"
    return known(
        rank=0 if paused else 6,
        hostname=other.hostname,
        called=other.hostname,
        state=["warn", "no plug-in", "" if other.queues else "takes no tasks"],
        active=other.active,
        queues=", ".join(other.queues) or None,
        pause=["bad" if paused and other.queues else "none", told, ""],
        acts=_acts(bool(other.queues), may) if other.queues or not paused else None,  # a resume wakes those
    )


def _remark(worker: WorkerStats, state: str, served: Iterable[str]) -> str:
    before = f"; served {', '.join(served)}" if served and not worker.queues else ""
    if state == "stalled":
        return "reports, but its event loop is blocked"
    if state == "quiet":
        return f"takes no tasks{before}"
    if state in {"draining", "drained"}:
        return f"takes no tasks: it is being drained{before}"
    if state == "silent":
        return f"for {format_duration(worker.silent_s)}"
    return "" if state == "online" else f"last report {worker.heartbeat_at:%H:%M:%S}"


def _pause_applied(worker: WorkerStats, wanted: bool) -> list[str]:
    if worker.pausing != "ready":
        return ["bad", "can't pause", worker.pausing]
    if worker.paused:
        return ["warn", "yes", ""]
    if worker.paused_queues:
        return ["warn", "in part", ", ".join(worker.paused_queues)]
    return ["bad", "not yet", ""] if wanted and worker.reports else ["none", "no", ""]


def running_rows(
    tasks: Iterable[RunningTask], *, may: May, before: Mapping[str, Row] = MappingProxyType({})
) -> dict[str, Row]:
    """One row per task that a worker runs, by its id.

    Args:
        before: The rows of the last read: a beginning that moved by less than two seconds has not moved.
    """
    acts = [act(RevokeTask, "Revoke", "It is discarded, or ended", usual=True)] if may(RevokeTask) else None
    rows = {}
    for task in tasks:
        at, last = task.started_at, before.get(task.task_id, {}).get("since")
        since = steady(at.timestamp(), last) if at else None
        rows[task.task_id] = known(
            name=task.name,
            called=f"{task.name} {task.task_id}",
            arguments=task.arguments or None,
            queue=task.queue,
            started=since,
            since=since,
            acts=acts,
        )
    return rows
