"""From figures to what a table or the strip shows: plain functions on plain values.

What is None is left out of a row: the browser shows a dash, and a merge patch means "gone" by null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from opsdash.model import (
    Approval,
    AuditEntry,
    HistoryPoint,
    OtherWorker,
    QueueStats,
    Status,
    TenantDrift,
    TrashEntry,
    WorkerStats,
    to_plain,
)
from opsdash.operation import Operation
from opsdash.operations import (
    ApproveOperation,
    ClearQueue,
    ClearTasks,
    DeleteTrash,
    PauseProcessing,
    RestoreQueue,
    ResumeProcessing,
)
from opsdash.operations.approve import described
from opsdash.state.status import PAUSED, RUNNING, SystemStatus

Row = dict[str, Any]
May = Callable[[type[Operation]], bool]

NO_WORKERS = "No active workers detected. Check Celery deployment."
NO_OPERATIONS = "No operations logged yet."
FRESH_S = 5.0
"""A worker reports every 2 s: up to here its heartbeat is "just now", and need not travel to every page."""
SPARK_EVERY = 3
"""A queue's small line shows every third point: it is 96 pixels wide."""
MAX_SPARKS = 50
"""Queues that have such a line: 200 of them would be 100 kB every ten seconds for each page."""
_WORKER_TONES = {"online": "ok", "stalled": "warn", "offline": "bad"}
_WORKER_ORDER = {"stalled": 1, "online": 2, "offline": 3}
_STATUS_TONES = {
    Status.SUCCESS: "ok",
    Status.FAILURE: "bad",
    Status.REFUSED: "bad",
    Status.IN_PROGRESS: "info",
    Status.UNKNOWN: "warn",
}


def worker_rows(
    workers: Iterable[WorkerStats],
    others: Iterable[OtherWorker] = (),
    *,
    paused: bool = False,
    now: datetime | None = None,
    before: Mapping[str, Row] = MappingProxyType({}),
) -> dict[str, Row]:
    """One row per worker by name; ``rank`` puts what needs a look first and what is gone last.

    Args:
        workers: As last reported.
        others: Those without the plug-in, as they last answered.
        paused: Everything is meant to be paused: a worker that has not stopped stands out.
        now: When that was read.
        before: The rows of the last read: a start that moved by less than two seconds has not moved.
    """
    held = {worker.hostname: _worker_row(worker, paused, now, before.get(worker.hostname, {})) for worker in workers}
    return held | {f"other:{other.hostname}": _other_row(other, paused) for other in others}


def _worker_row(worker: WorkerStats, paused: bool, now: datetime | None, before: Row) -> Row:
    since = worker.heartbeat_at.timestamp() - worker.uptime_s
    if abs(since - before.get("since", 0)) < 2:
        since = before["since"]
    silent_s = 0.0 if now is None else (now - worker.heartbeat_at).total_seconds()
    return _known(
        rank=_WORKER_ORDER.get(worker.state, 4),
        hostname=worker.hostname,
        state=[_WORKER_TONES.get(worker.state, "warn"), worker.state, _last_seen(worker)],
        since=round(since) if worker.state != "offline" else None,
        active=worker.active,
        slots=worker.concurrency,
        processed=worker.processed,
        reserved=worker.reserved,
        scheduled=worker.scheduled,
        oldest=round(worker.heartbeat_at.timestamp() - worker.oldest_s) if worker.oldest_s is not None else None,
        memory=worker.memory_bytes,
        seen=round(worker.heartbeat_at.timestamp()) if silent_s > FRESH_S else None,
        queues=", ".join(worker.queues),
        started=", ".join(f"{queue} {total:,}" for queue, total in sorted(worker.started.items())),
        pool=f"{worker.pool} \N{MULTIPLICATION SIGN} {worker.concurrency}" if worker.concurrency else worker.pool,
        pid=worker.pid,
        epoch=worker.epoch,
        version=worker.version,
        pause=_pause_applied(worker, paused),
    )


def _known(**fields: Any) -> Row:
    return {name: value for name, value in fields.items() if value is not None}


def _other_row(other: OtherWorker, paused: bool) -> Row:
    """What Celery's own remote control tells of a worker without the plug-in; all else is not known."""
    told = "not held by opsdash" if other.queues or other.active or not paused else "sent cancel_consumer"
    return {
        "rank": 0 if paused else 5,
        "hostname": other.hostname,
        "state": ["warn", "no plug-in", ""],
        "active": other.active,
        "queues": ", ".join(other.queues),
        "pause": ["bad" if paused and other.queues else "none", told, ""],
    }


def _last_seen(worker: WorkerStats) -> str:
    if worker.state == "stalled":
        return "reports, but its event loop stands still"
    return "" if worker.state == "online" else f"last report {worker.heartbeat_at:%H:%M:%S}"


def _pause_applied(worker: WorkerStats, wanted: bool) -> list[str]:
    if worker.pausing != "ready":
        return ["bad", "can't pause", worker.pausing]
    if worker.paused:
        return ["warn", "yes", ""]
    if worker.paused_queues:
        return ["warn", "in part", ", ".join(worker.paused_queues)]
    return ["bad", "not yet", ""] if wanted and worker.state != "offline" else ["none", "no", ""]


def queue_rows(
    queues: Iterable[QueueStats], status: SystemStatus, recent: Iterable[HistoryPoint], may: May
) -> dict[str, Row]:
    """One row per queue by name, in the order of the settings, with what may be done to it."""
    points = list(recent)
    thinned = [p for p in points if p.at.timestamp() // p.step.total_seconds() % SPARK_EVERY == 0]
    rates = _latest_rates(points) or {}
    rows = {}
    for rank, queue in enumerate(queues):
        own = status.paused_queues.get(queue.name)
        acts = [["peek", "Peek", "The first and last tasks that wait"]]
        if own is not None and may(ResumeProcessing):
            acts.insert(0, [ResumeProcessing.name, "Resume", "Lift the pause of this queue"])
        if own is None and status.known and may(PauseProcessing):
            acts.insert(0, [PauseProcessing.name, "Pause", "Pause this queue only"])
        if may(ClearQueue):
            acts.append([ClearTasks.name, "Clear some", "Clear the tasks that match a name, an age or a text"])
            acts.append([ClearQueue.name, "Clear", "Clear all that waits"])
        rows[queue.name] = _known(
            rank=rank,
            name=queue.name,
            state=_queue_state(queue, status, own),
            waiting=queue.waiting,
            rate=rates.get(queue.name),
            spark=[_spark_point(p, p.waiting.get(queue.name)) for p in thinned] if rank < MAX_SPARKS else None,
            acts=acts,
        )
    return rows


def _queue_state(queue: QueueStats, status: SystemStatus, own: Any) -> list[str]:
    if queue.error:
        return ["bad", "unreadable", queue.error]
    if own is not None:
        by = f"by {own.by}" if own.by else "outside opsdash"
        until = f", until {moment(own.expires_at, status.updated_at)} UTC" if own.expires_at else ", without an end"
        return ["warn", "paused", f"{by}{until}{f': {own.reason}' if own.reason else ''}"]
    if status.paused:
        return ["warn", "paused", "with everything"]
    return ["ok", "running", ""] if status.known else ["none", "unknown", ""]


def _spark_point(point: HistoryPoint, value: float | None) -> list[float]:
    at = round(point.at.timestamp())
    return [at] if value is None else [at, value]


def sparks(recent: Iterable[HistoryPoint]) -> dict[str, list[list[float]]]:
    """The strip's lines: figure → points; a missing value is a gap."""
    points = list(recent)
    return {
        "waiting": [_spark_point(p, sum(p.waiting.values())) for p in points],
        "rate": [_spark_point(p, round(sum(p.started_per_s.values()), 2) if p.started_per_s else None) for p in points],
        "online": [_spark_point(p, p.online) for p in points],
        "busy": [_spark_point(p, p.active) for p in points],
        "redis_ms": [_spark_point(p, p.redis_ms) for p in points],
    }


def operation_rows(entries: Iterable[AuditEntry], undoable: Mapping[str, str] = MappingProxyType({})) -> dict[str, Row]:
    """One row per audit entry by id, with the whole entry as JSON for who expands it.

    Args:
        undoable: Trash id → until when, of clears that whoever looks may undo.
    """
    return {
        str(entry.id): _known(
            timestamp=entry.timestamp.timestamp(),
            name=f"{entry.title} of {entry.timestamp:%H:%M:%S}",
            user=entry.user,
            operation=entry.title,
            status=[_STATUS_TONES.get(entry.status, "warn"), entry.status.value.replace("_", " "), ""],
            summary=entry.summary,
            took=f"{entry.details['took_s']:.2f} s" if isinstance(entry.details.get("took_s"), int | float) else None,
            surface=str(entry.details["surface"]) if "surface" in entry.details else None,
            acts=[[RestoreQueue.name, "Undo", f"until {until}"]] if (until := undoable.get(entry.id.hex)) else None,
            json=json.dumps(to_plain(entry.details), indent=2, ensure_ascii=False, default=str),
        )
        for entry in entries
    }


def trash_rows(entries: Iterable[TrashEntry], *, may: bool) -> dict[str, Row]:
    """One row per clear that can be undone, by its id.

    Args:
        may: Whoever looks may restore and delete.
    """
    acts = [[RestoreQueue.name, "Restore", "Back into its queue"], [DeleteTrash.name, "Delete", "For good"]]
    return {
        entry.id: _known(
            at=round(entry.at.timestamp()) if entry.at else None,
            name=entry.queue,
            queue=entry.queue,
            count=entry.count,
            size=entry.size_bytes,
            by=entry.by,
            until=round(entry.expires_at.timestamp()) if entry.expires_at else None,
            state="kept" if entry.state == "kept" else f"{entry.state}, not finished",
            acts=acts if may else None,
        )
        for entry in entries
    }


def approval_rows(waiting: Iterable[Approval], *, may: bool) -> dict[str, Row]:
    """One row per act that waits for a second person, by its id.

    Args:
        may: Whoever looks may approve, unless they asked themselves.
    """
    return {
        waits.id: _known(
            at=round(waits.at.timestamp()),
            name=described(waits),
            by=waits.by,
            surface=waits.surface,
            until=round(waits.expires_at.timestamp()),
            acts=[[ApproveOperation.name, "Approve", f"What {waits.by} asked for is done then"]] if may else None,
        )
        for waits in waiting
    }


def status_tone(status: SystemStatus) -> str:
    """Colour of the status: running is calm while it is sure, paused can't be overlooked."""
    if status.redis_stale and status.processing_status == RUNNING:
        return "none"
    return {RUNNING: "ok", PAUSED: "warn"}.get(status.processing_status, "none")


def pause_story(status: SystemStatus) -> str:
    """Who paused, since when, until when; what the deployment is doing otherwise."""
    if status.processing_status == PAUSED:
        parts = [f"Paused by {status.pause_by}" if status.pause_by else "Paused by somebody outside opsdash"]
        if status.pause_since:
            parts.append(f"since {moment(status.pause_since, status.updated_at)}")
        parts.append(
            f"until {moment(status.pause_until, status.updated_at)} UTC" if status.pause_until else "without an end"
        )
        return f"{' '.join(parts)}."
    if status.processing_status != RUNNING:
        return "Reading the deployment …" if not status.redis_error else "Redis has not answered yet"
    held = len(status.paused_queues)
    if held:
        return f"{held} of {len(status.queues)} queues paused: {', '.join(sorted(status.paused_queues))}"
    return "Workers pick up tasks from every queue"


def moment(when: datetime, now: datetime | None) -> str:
    """A time of today as ``13:10``, any other with its date."""
    return f"{when:%H:%M}" if now is not None and when.date() == now.date() else f"{when:%Y-%m-%d %H:%M}"


def figures(status: SystemStatus, recent: Iterable[HistoryPoint] = ()) -> dict[str, list[Any]]:
    """The strip's figures as ``[value, unit]``; what is not known is not there."""
    online = [worker for worker in status.workers if worker.state != "offline"]
    others = len(status.others or ())
    slots = sum(worker.concurrency for worker in online)
    found: dict[str, list[Any]] = {}
    if status.known:
        queues = len(status.queues)
        found["waiting"] = [sum(q.waiting for q in status.queues), f"in {queues} queue{'' if queues == 1 else 's'}"]
        found["online"] = [len(online) + others, f"of {len(status.workers) + others}"]
        found["busy"] = [sum(worker.active for worker in online), f"of {slots:,}" if slots else ""]
    if status.redis_ms is not None:
        found["redis_ms"] = [round(status.redis_ms, 1), "ms"]
    if (rates := _latest_rates(recent)) is not None:
        found["rate"] = [round(sum(rates.values()), 1), "tasks/s"]
    return found


def _latest_rates(recent: Iterable[HistoryPoint]) -> Mapping[str, float] | None:
    """The newest known ones of the last half minute: a console that has just started writes its first point without."""
    return next((p.started_per_s for p in reversed(list(recent)[-3:]) if p.started_per_s), None)


def tenants(count: int | None, drift: TenantDrift | None, now: datetime | None) -> Row:
    """How many there are, and whether the database has moved on since the last sync."""
    words = "tenant" if count == 1 else "tenants"
    if drift is None:
        return _known(count=count, words=words, tone="none", drift="Whether they differ from Redis is not known.")
    if drift.synced_at is None:
        said = "Not synced yet." if drift.rows else "No tenant in the database."
        return _known(count=count, words=words, tone="warn" if drift.rows else "none", drift=said)
    ended = f"{moment(drift.synced_at, now)} UTC{f' by {drift.synced_by}' if drift.synced_by else ''}"
    if not drift.differs:
        return _known(count=count, words=words, tone="ok", drift=f"As of the last sync, {ended}.")
    since = f" since {moment(drift.since, now)} UTC" if drift.since else ""
    return _known(count=count, words=words, tone="warn", drift=f"Changed{since}; last synced {ended}.")


def environment_risk(name: str) -> str:
    """How careful to be, by the name of the environment: high, medium, low, or none where it says nothing."""
    words = name.lower()
    for risk, parts in (
        ("medium", ("staging", "stage", "uat", "preprod", "pre-prod", "qa")),
        ("high", ("prod", "live")),
        ("low", ("dev", "local", "demo", "test", "sandbox")),
    ):
        if any(part in words for part in parts):
            return risk
    return "none"
