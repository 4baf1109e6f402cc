"""Typed pandas frames of what opsdash reads. pandas is imported on first use.

A column has its type without any row too. ``category``: text that repeats; its categories are those that occur.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from opsdash.errors import Invalid
from opsdash.model import Failure, FailureGroup, HistoryPoint, QueueStats, TrashEntry, WorkerStats, times
from opsdash.model.failure import COUNTED, KEPT

if TYPE_CHECKING:
    import pandas as pd

WORKER_STATES = ("online", "stalled", "silent", "offline")
TRASH_KINDS = ("queue", "failed")
TRASH_STATES = ("kept", "clearing", "restoring")
TENANT_STATES = ("synced", "changed", "missing", "orphaned", "unreadable")
TIME = "datetime64[us, UTC]"
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
HISTORY_TYPES = {
    "at": TIME,
    "step_s": "Float64",
    "queue": "category",
    "waiting": "Int64",
    "started_per_s": "Float64",
    "oldest_s": "Float64",
    "paused": "boolean",
    "held": "Int64",
}
TRASH_TYPES = {
    "id": "string",
    "kind": TRASH_KINDS,
    "queue": "category",
    "count": "Int64",
    "size_bytes": "Int64",
    "by": "category",
    "at": TIME,
    "expires_at": TIME,
    "state": TRASH_STATES,
}
FAILURE_GROUP_TYPES = {
    "fingerprint": "string",
    "kind": (*KEPT, *COUNTED),
    "task": "category",
    "error": "category",
    "place": "string",
    "queue": "category",
    "count": "Int64",
    "kept": "Int64",
    "not_kept": "Int64",
    "first_at": TIME,
    "last_at": TIME,
    "message_text": "string",
    "queues": "object",
    "workers": "object",
    "hours": "object",
}
FAILURE_TYPES = {
    "id": "string",
    "kind": KEPT,
    "task": "category",
    "error": "category",
    "queue": "category",
    "worker": "category",
    "at": TIME,
    "first_at": TIME,
    "times": "Int64",
    "retries": "Int64",
    "message_text": "string",
    "arguments": "string",
    "place": "string",
    "traceback": "string",
    "fingerprint": "string",
    "root_id": "string",
    "parent_id": "string",
    "traceparent": "string",
    "sendable": "boolean",
    "message_bytes": "Int64",
}
TENANT_TYPES = {
    "tenant_id": "string",
    "state": TENANT_STATES,
    "name": "string",
    "enabled": "boolean",
    "updated_at": TIME,
    "settings": "string",
    "api_key_fingerprint": "string",
    "problem": "string",
}


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


def of_history(points: Iterable[HistoryPoint]) -> pd.DataFrame:
    """Long form: one row per point and queue, oldest first. What is not known is NA, and a missing point has no row."""

    def rows() -> Iterable[dict[str, Any]]:
        for point in points:
            names = {*point.waiting, *point.held, *point.started_per_s, *point.oldest_s, *(point.paused - {"*"})}
            for name in sorted(names):
                yield {
                    "at": point.at,
                    "step_s": point.step.total_seconds(),
                    "queue": name,
                    "waiting": point.waiting.get(name),
                    "started_per_s": point.started_per_s.get(name),
                    "oldest_s": point.oldest_s.get(name),
                    "paused": not point.paused.isdisjoint({"*", name}),
                    "held": point.held.get(name, 0),
                }

    return _frame(rows(), HISTORY_TYPES)


def of_trash(entries: Iterable[TrashEntry]) -> pd.DataFrame:
    """One row per clear that can be undone, in the order given."""
    return _frame(({name: getattr(entry, name) for name in TRASH_TYPES} for entry in entries), TRASH_TYPES)


def of_failure_groups(groups: Iterable[FailureGroup]) -> pd.DataFrame:
    """One row per group of failed tasks, in the order given."""
    return _frame(
        ({name: getattr(group, name) for name in FAILURE_GROUP_TYPES} for group in groups), FAILURE_GROUP_TYPES
    )


def of_failures(failures: Iterable[Failure]) -> pd.DataFrame:
    """One row per failed task that is kept, in the order given."""
    return _frame(({name: getattr(one, name) for name in FAILURE_TYPES} for one in failures), FAILURE_TYPES)


def of_tenants(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per tenant; a column that a row does not have is NA."""
    return _frame(rows, TENANT_TYPES)


def moment(value: Any, field: str) -> datetime | None:
    """A time as an analyst gives it, in UTC; None stays None.

    Args:
        value: ISO text (``2026-11-23``, ``2026-11-23T03:00+01:00``), an age (``2h``), a datetime or date of Python,
            pandas' Timestamp or numpy's datetime64. One without a zone is UTC.
        field: What the error names.

    Raises:
        Invalid: It is no time, or none that is reckoned with.
    """
    import numpy as np
    import pandas as pd

    if value is None:
        return None
    try:
        if isinstance(value, str):
            return times.typed(value)
        if isinstance(value, np.datetime64):
            value = pd.Timestamp(value)
        if value is pd.NaT or not isinstance(value, date):
            expected = "expected a datetime, a Timestamp or text such as 2026-11-23T03:00"
            raise Invalid(f"{expected}, got {value!r:.100}", field=field)
        if isinstance(value, pd.Timestamp):
            value = value.to_pydatetime(warn=False)
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        return times.in_utc(value if value.tzinfo else value.replace(tzinfo=UTC))
    except ValueError as error:
        raise Invalid(f"{error}", field=field) from None


def _frame(rows: Iterable[Mapping[str, Any]], types: Mapping[str, Any]) -> pd.DataFrame:
    """Columns keep their types without any row too: what works on a busy day works on a quiet one."""
    import pandas as pd

    values: dict[str, list[Any]] = {name: [] for name in types}
    for row in rows:
        for name, column in values.items():
            column.append(row.get(name))
    return pd.DataFrame({name: series(values.pop(name), kind) for name, kind in types.items()})


def series(values: list[Any], kind: Any) -> pd.Series:
    """One column of such a kind: a dtype, ``TIME``, or the categories."""
    import pandas as pd

    if isinstance(kind, tuple):
        return pd.Series(pd.Categorical(values, categories=list(kind)))
    if kind == TIME:
        return pd.Series(pd.to_datetime(values, utc=True), dtype=TIME)
    return pd.Series(values, dtype=kind)
