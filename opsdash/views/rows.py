"""From figures to what a table or the strip shows: plain functions on plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from opsdash.model import (
    AuditEntry,
    OtherWorker,
    Status,
    TrashEntry,
    WorkerStats,
    format_duration,
    format_size,
    to_plain,
)
from opsdash.state.status import PAUSED, RUNNING, SystemStatus
from opsdash.views.components import NOT_KNOWN

Row = dict[str, Any]

WORKER_COLUMNS: list[Row] = [
    {"field": "hostname", "title": "Worker"},
    {"field": "state", "title": "State", "kind": "state"},
    {"field": "uptime", "title": "Uptime", "kind": "right"},
    {"field": "processed", "title": "Processed", "kind": "number"},
    {"field": "active", "title": "Active", "kind": "number"},
    {"field": "reserved", "title": "Reserved", "kind": "number"},
    {"field": "scheduled", "title": "Scheduled", "kind": "number"},
    {"field": "memory", "title": "Memory", "kind": "right"},
    {"field": "queues", "title": "Queues"},
    {"field": "pool", "title": "Pool"},
    {"field": "pause", "title": "Pause applied", "kind": "state"},
]
NO_WORKERS = "No active workers detected. Check Celery deployment."
_WORKER_TONES = {"online": "ok", "stalled": "warn", "offline": "bad"}

OPERATION_COLUMNS: list[Row] = [
    {"field": "timestamp", "title": "Timestamp (UTC)"},
    {"field": "user", "title": "User"},
    {"field": "operation", "title": "Operation"},
    {"field": "status", "title": "Status", "kind": "state"},
    {"field": "summary", "title": "Details"},
    {"field": "acts", "title": "", "kind": "acts"},
]
NO_OPERATIONS = "No operations logged yet."
_STATUS_TONES = {
    Status.SUCCESS: "ok",
    Status.FAILURE: "bad",
    Status.REFUSED: "bad",
    Status.IN_PROGRESS: "info",
    Status.UNKNOWN: "warn",
}


def worker_rows(
    workers: Iterable[WorkerStats], others: Iterable[OtherWorker] = (), *, paused: bool = False
) -> list[Row]:
    """One row per worker: what needs a look first, what is gone last.

    Args:
        workers: As last reported.
        others: Those without the plug-in, as they last answered.
        paused: Everything is meant to be paused: a worker that has not stopped stands out.
    """
    order = ["stalled", "online", "offline"]
    unheld = [_other_row(other, paused) for other in sorted(others, key=lambda other: other.hostname)]
    ranked = sorted(workers, key=lambda w: (order.index(w.state) if w.state in order else len(order), w.hostname))
    held = [
        {
            "key": worker.hostname,
            "hostname": worker.hostname,
            "state": [_WORKER_TONES.get(worker.state, "warn"), worker.state, _last_seen(worker)],
            "uptime": worker.uptime,
            "uptime_rank": worker.uptime_s,
            "processed": worker.processed,
            "active": worker.active,
            "reserved": worker.reserved,
            "scheduled": worker.scheduled,
            "memory": _memory(worker.memory_bytes),
            "memory_rank": worker.memory_bytes or 0,
            "queues": ", ".join(worker.queues),
            "pool": f"{worker.pool} \N{MULTIPLICATION SIGN} {worker.concurrency}"
            if worker.concurrency
            else worker.pool,
            "pause": _pause_applied(worker, paused),
        }
        for worker in ranked
    ]
    return [*unheld, *held] if paused else [*held, *unheld]


def _other_row(other: OtherWorker, paused: bool) -> Row:
    """What Celery's own remote control tells of a worker without the plug-in; all else is not known."""
    unknown = dict.fromkeys(("uptime", "processed", "reserved", "scheduled", "memory", "pool"))
    told = "not held by opsdash" if other.queues or other.active or not paused else "sent cancel_consumer"
    return {
        **unknown,
        "key": f"other:{other.hostname}",
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


def _memory(size: int | None) -> str | None:
    return None if size is None else f"{size / 1_000_000:,.0f} MB"


def _pause_applied(worker: WorkerStats, wanted: bool) -> list[str]:
    if worker.pausing != "ready":
        return ["bad", "can't pause", worker.pausing]
    if worker.paused:
        return ["warn", "yes", ""]
    if worker.paused_queues:
        return ["warn", "in part", ", ".join(worker.paused_queues)]
    return ["bad", "not yet", ""] if wanted and worker.state != "offline" else ["none", "no", ""]


def operation_rows(entries: Iterable[AuditEntry], undoable: Mapping[str, str] = MappingProxyType({})) -> list[Row]:
    """One row per audit entry, with the whole entry as JSON for who expands it.

    Args:
        undoable: Trash id → time left, of clears that whoever looks may undo.
    """
    return [
        {
            "key": str(entry.id),
            "timestamp": f"{entry.timestamp:%Y-%m-%d %H:%M:%S}",
            "user": entry.user,
            "operation": entry.title,
            "status": [_STATUS_TONES.get(entry.status, "warn"), entry.status.value.replace("_", " "), ""],
            "summary": entry.summary,
            "acts": [["undo", "Undo", f"{left} left"]] if (left := undoable.get(entry.id.hex)) else None,
            "json": json.dumps(to_plain(entry.details), indent=2, ensure_ascii=False, default=str),
        }
        for entry in entries
    ]


TRASH_COLUMNS: list[Row] = [
    {"field": "at", "title": "Cleared (UTC)"},
    {"field": "queue", "title": "Queue"},
    {"field": "count", "title": "Tasks", "kind": "number"},
    {"field": "size", "title": "Size", "kind": "right"},
    {"field": "by", "title": "By"},
    {"field": "left", "title": "Undo ends in", "kind": "right"},
    {"field": "acts", "title": "", "kind": "acts"},
]


def trash_rows(entries: Iterable[TrashEntry], now: datetime, *, may: bool) -> list[Row]:
    """One row per clear that can be undone.

    Args:
        may: Whoever looks may restore and delete.
    """
    return [
        {
            "key": entry.id,
            "at": f"{entry.at:%Y-%m-%d %H:%M:%S}" if entry.at else None,
            "queue": entry.queue,
            "count": entry.count,
            "size": format_size(entry.size_bytes),
            "size_rank": entry.size_bytes or 0,
            "by": entry.by,
            "left": _left(entry, now),
            "acts": [["restore", "Restore", ""], ["delete", "Delete", ""]] if may else None,
        }
        for entry in entries
    ]


def _left(entry: TrashEntry, now: datetime) -> str:
    if entry.expires_at is None:
        return f"{entry.state}, not finished"
    return format_duration((entry.expires_at - now).total_seconds()).rpartition(" ")[0] or "under a minute"


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
        return f"{' '.join(parts)}. {status.drain}"
    if status.processing_status != RUNNING:
        return "Reading the deployment …" if not status.redis_error else "Redis has not answered yet"
    held = len(status.paused_queues)
    if held:
        return f"{held} of {len(status.queues)} queues paused: {', '.join(sorted(status.paused_queues))}"
    return "Workers pick up tasks from every queue"


def moment(when: datetime, now: datetime | None) -> str:
    """A time of today as ``13:10``, any other with its date."""
    return f"{when:%H:%M}" if now is not None and when.date() == now.date() else f"{when:%Y-%m-%d %H:%M}"


def figures(status: SystemStatus) -> list[list[str]]:
    """The strip's five figures as ``[label, value, unit]``."""
    online = [worker for worker in status.workers if worker.state != "offline"]
    others = len(status.others or ())
    total = len(status.workers) + others
    slots = sum(worker.concurrency for worker in online)
    active = sum(worker.active for worker in online)
    known = status.known
    return [
        [
            "Pending Tasks",
            f"{status.pending_tasks:,}" if status.pending_tasks is not None else NOT_KNOWN,
            status.selected_queue,
        ],
        ["Waiting in all queues", f"{sum(q.waiting for q in status.queues):,}" if known else NOT_KNOWN, "tasks"],
        ["Workers online", f"{len(online) + others}" if known else NOT_KNOWN, f"of {total}" if known else ""],
        ["Running now", f"{active:,}" if known else NOT_KNOWN, f"of {slots} slots" if slots else ""],
        ["Redis round trip", f"{status.redis_ms:.1f}" if status.redis_ms is not None else NOT_KNOWN, "ms"],
    ]
