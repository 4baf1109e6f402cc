"""Typed pandas frames of what opsdash reads. pandas is imported on first use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from opsdash.model import AuditEntry, QueueStats, Status, WorkerStats, to_plain

if TYPE_CHECKING:
    import pandas as pd

WORKER_STATES = ("online", "stalled", "silent", "offline")
TIME = "datetime64[us, UTC]"
AUDIT_TYPES = {
    "timestamp": TIME,
    "finished_at": TIME,
    "user": "string",
    "operation": "string",
    "status": tuple(status.value for status in Status),
    "message": "string",
    "surface": "string",
    "took_s": "Float64",
    "affected": "Int64",
    "details": "object",
    "id": "string",
    "request_id": "string",
    "seq": "Int64",
    "broker": "string",
}
WORKER_TYPES = {
    "hostname": "string",
    "state": WORKER_STATES,
    "heartbeat_at": TIME,
    "uptime_s": "Float64",
    "processed": "Int64",
    "failed": "Int64",
    "active": "Int64",
    "reserved": "Int64",
    "scheduled": "Int64",
    "oldest_s": "Float64",
    "concurrency": "Int64",
    "pool": "string",
    "load": "Float64",
    "memory_bytes": "Int64",
    "queues": "object",
    "paused": "boolean",
    "paused_queues": "object",
    "epoch": "Int64",
    "pausing": "string",
    "version": "string",
    "pid": "Int64",
}
QUEUE_TYPES = {"name": "string", "waiting": "Int64", "by_priority": "object", "paused": "boolean", "error": "string"}


def of_audit(entries: Iterable[AuditEntry]) -> pd.DataFrame:
    """One row per entry, in the order given; ``details`` is the whole JSON as text."""
    return _frame((_audit_row(entry) for entry in entries), AUDIT_TYPES)


def of_workers(workers: Iterable[WorkerStats]) -> pd.DataFrame:
    """One row per worker; what it did not tell is NA. Of an offline one the figures are its last."""
    return _frame(({name: getattr(worker, name) for name in WORKER_TYPES} for worker in workers), WORKER_TYPES)


def of_queues(queues: Iterable[QueueStats]) -> pd.DataFrame:
    """One row per queue; ``waiting`` is NA where it can't be read."""
    return _frame(
        (
            {name: getattr(queue, name) for name in QUEUE_TYPES} | {"waiting": None if queue.error else queue.waiting}
            for queue in queues
        ),
        QUEUE_TYPES,
    )


def _audit_row(entry: AuditEntry) -> dict[str, Any]:
    details = entry.details
    took_s, affected = details.get("took_s"), details.get("affected")
    return {
        "timestamp": entry.timestamp,
        "finished_at": entry.finished_at,
        "user": entry.user,
        "operation": entry.operation,
        "status": entry.status.value,
        "message": _text(details.get("message")),
        "surface": _text(details.get("surface")),
        "took_s": took_s if isinstance(took_s, int | float) else None,
        "affected": affected if isinstance(affected, int) else None,
        "details": json.dumps(to_plain(details), ensure_ascii=False, default=str),
        "id": str(entry.id),
        "request_id": str(entry.request_id),
        "seq": entry.seq,
        "broker": entry.broker,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _frame(rows: Iterable[Mapping[str, Any]], types: Mapping[str, Any]) -> pd.DataFrame:
    """Columns keep their types without any row too: what works on a busy day works on a quiet one."""
    import pandas as pd

    given = list(rows)

    def column(name: str, kind: Any) -> pd.Series:
        values = [row[name] for row in given]
        if isinstance(kind, tuple):
            return pd.Series(pd.Categorical(values, categories=list(kind)))
        if kind == TIME:
            return pd.Series(pd.to_datetime(values, utc=True), dtype=TIME)
        return pd.Series(values, dtype=kind)

    return pd.DataFrame({name: column(name, kind) for name, kind in types.items()})
