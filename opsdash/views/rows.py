"""From figures to what a table or the strip shows: plain functions on plain values.

What is None is left out of a row: the browser shows a dash, and a merge patch means "gone" by null.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from opsdash.model import (
    Approval,
    AuditEntry,
    HistoryPoint,
    QueueStats,
    Snapshot,
    Status,
    TenantDrift,
    TrashEntry,
    to_plain,
    untrusted,
)
from opsdash.operation import Operation, heading_of, recorded
from opsdash.operations import (
    ApproveOperation,
    ClearQueue,
    ClearTasks,
    DeleteTrash,
    PauseProcessing,
    RestoreQueue,
    ResumeProcessing,
    SyncTenantConfigs,
)
from opsdash.operations.approve import described
from opsdash.state.status import PAUSED, RUNNING, SystemStatus
from opsdash.text import count, format_duration
from opsdash.views.form import asking

Row = dict[str, Any]
May = Callable[[type[Operation]], bool]

NO_WORKERS = "No active workers detected. Check Celery deployment."
NO_OPERATIONS = "No operations logged yet."
RECENT_S = 15 * 60
WHOLE = 0.95
"""Of that time, where it is called the whole."""
SPARK_EVERY = 3
"""A queue's small line shows every third point: it is 96 pixels wide."""
MAX_SPARKS = 50
"""Queues that have such a line: 200 of them would be 100 kB every ten seconds for each page."""
_STATUS_TONES = {
    Status.SUCCESS: "ok",
    Status.FAILURE: "bad",
    Status.REFUSED: "bad",
    Status.IN_PROGRESS: "info",
    Status.UNKNOWN: "warn",
}


def known(**fields: Any) -> Row:
    """A row with the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def steady(at: float, before: float | None) -> int:
    """A moment that was told as an age, in whole seconds; one that moved by less than two seconds has not moved."""
    return round(at) if before is None or abs(at - before) >= 2 else round(before)


def queue_rows(
    queues: Iterable[QueueStats],
    status: SystemStatus,
    recent: Iterable[HistoryPoint],
    may: May,
    before: Mapping[str, Row] = MappingProxyType({}),
) -> dict[str, Row]:
    """One row per queue by name, in the order of the settings, with what may be done to it.

    Args:
        before: The rows of the last read.
    """
    points, read_at = list(recent), status.redis_read_at
    thinned = [p for p in points if p.at.timestamp() // p.step.total_seconds() % SPARK_EVERY == 0]
    rates = latest.started_per_s if (latest := _latest_rates(points)) else {}
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
        rows[queue.name] = known(
            rank=rank,
            name=queue.name,
            state=_queue_state(queue, status, own),
            waiting=None if queue.error else queue.waiting,
            oldest=steady(read_at.timestamp() - queue.oldest_s, before.get(queue.name, {}).get("oldest"))
            if read_at is not None and queue.oldest_s is not None
            else None,
            oldest_at_least=queue.oldest_at_least or None,
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
    if status.known and queue.consumed is False:
        return ["warn", "no consumer", "no worker takes tasks from it"]
    return ["ok", "running", ""] if status.known else ["none", "unknown", ""]


def _spark_point(point: HistoryPoint, value: float | None) -> list[float]:
    at = round(point.at.timestamp())
    return [at] if value is None else [at, value]


def sparks(recent: Iterable[HistoryPoint]) -> dict[str, list[list[float]]]:
    """The strip's lines: figure → points; a missing value is a gap."""
    points = list(recent)
    return {
        "waiting": [_spark_point(p, sum(p.waiting.values()) if p.waiting else None) for p in points],
        "rate": [_spark_point(p, round(sum(p.started_per_s.values()), 2) if p.started_per_s else None) for p in points],
        "failed": [_spark_point(p, p.failed_per_s) for p in points],
        "online": [_spark_point(p, p.online) for p in points],
        "busy": [_spark_point(p, p.active) for p in points],
        "redis_ms": [_spark_point(p, p.redis_ms) for p in points],
    }


def operation_rows(
    entries: Iterable[AuditEntry], undoable: Mapping[UUID, Operation] = MappingProxyType({}), here: str = ""
) -> dict[str, Row]:
    """One row per audit entry by id, with the whole entry as JSON for who expands it.

    Args:
        here: This console's broker; of an entry about another one the row says which.
        undoable: Id of an entry → what undoes it, as far as whoever looks may.
    """
    return {
        str(entry.id): known(
            timestamp=entry.timestamp.timestamp(),
            called=f"what was done at {entry.timestamp:%H:%M:%S}",
            user=entry.user,
            operation=heading_of(entry),
            status=[_STATUS_TONES.get(entry.status, "warn"), entry.status.value.replace("_", " "), ""],
            summary=entry.summary if entry.broker in (None, here) else f"On {entry.broker}: {entry.summary}",
            took=f"{entry.details['took_s']:.2f} s" if isinstance(entry.details.get("took_s"), int | float) else None,
            surface=str(entry.details["surface"]) if "surface" in entry.details else None,
            why=entry.reason or None,
            broker=None if entry.broker == here else entry.broker,
            acts=[[undo.name, "Undo", _until(entry)]] if (undo := undoable.get(entry.id)) else None,
            undo=asking(undo) if undo else None,
            json=json.dumps(to_plain(entry.details), indent=2, ensure_ascii=False, default=str),
        )
        for entry in entries
    }


def undos(entries: Iterable[AuditEntry], snapshot: Snapshot | None, may: May) -> dict[UUID, Operation]:
    """Id of an entry → what undoes it, where that is still possible and whoever looks may."""
    found: dict[UUID, Operation] = {}
    if snapshot is None:
        return {}
    for entry in entries:
        told = entry.details.get("undo")
        undo = recorded(told.get("operation"), told.get("params")) if isinstance(told, Mapping) else None
        if undo is not None and may(type(undo)) and undo.still_possible(snapshot):
            found[entry.id] = undo
    return found


def _until(entry: AuditEntry) -> str:
    until = untrusted.moment(entry.details["undo"].get("until"))
    return f"until {until:%H:%M} UTC" if until is not None else "takes it back"


def trash_rows(entries: Iterable[TrashEntry], *, may: bool) -> dict[str, Row]:
    """One row per clear that can be undone, by its id.

    Args:
        may: Whoever looks may restore and delete.
    """
    acts = [[RestoreQueue.name, "Restore", "Back into its queue"], [DeleteTrash.name, "Delete", "For good"]]
    return {
        entry.id: known(
            at=entry.at.timestamp() if entry.at else None,
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
        waits.id: known(
            at=round(waits.at.timestamp()),
            name=described(waits),
            called=f"what {waits.by} asked for at {waits.at:%H:%M:%S}",
            by=waits.by,
            surface=waits.surface,
            until=round(waits.expires_at.timestamp()),
            acts=[[ApproveOperation.name, "Approve", f"What {waits.by} asked for is done then"]]
            if may and not waits.problem
            else None,
        )
        for waits in waiting
    }


def status_tone(status: SystemStatus) -> str:
    """Colour of the status: running is calm while it is sure, paused can't be overlooked."""
    if status.redis_stale and status.processing_status == RUNNING:
        return "none"
    if status.processing_status == RUNNING and attention(status):
        return "warn"
    return {RUNNING: "ok", PAUSED: "warn"}.get(status.processing_status, "none")


def pause_story(status: SystemStatus) -> str:
    """Who paused, since when, until when; what the deployment is doing otherwise, or why that is not known now."""
    if status.processing_status == PAUSED:
        parts = [f"Paused by {status.pause_by}" if status.pause_by else "Paused by somebody outside opsdash"]
        if status.pause_since:
            parts.append(f"since {moment(status.pause_since, status.updated_at)}")
        parts.append(
            f"until {moment(status.pause_until, status.updated_at)} UTC" if status.pause_until else "without an end"
        )
        return f"{' '.join(parts)}.{f' {old}.' if (old := as_of(status)) else ''}"
    if status.processing_status != RUNNING:
        return "Reading the deployment …" if not status.redis_error else "Redis has not answered yet"
    if old := as_of(status):
        return old
    held = len(status.paused_queues)
    if held:
        return f"{held} of {len(status.queues)} queues paused: {', '.join(sorted(status.paused_queues))}"
    return attention(status) or "Workers pick up tasks from every queue"


def as_of(status: SystemStatus) -> str:
    """How old the state is that is shown, and why; empty while it is fresh."""
    if status.stalled_s:
        return f"As of {status.stalled_s} s ago; no new figures come"
    if not status.redis_error or status.redis_age_s is None:
        return ""
    why = "Redis does not answer" if "redis" in status.silent else "Redis can't be read"
    return f"As of {status.redis_age_s:.0f} s ago; {why}"


def attention(status: SystemStatus) -> str:
    """Which workers need a look, as a sentence; empty where none does."""
    others = status.others or ()
    counts = Counter(worker.condition for worker in status.workers)
    takes = counts["online"] + counts["stalled"] + sum(bool(other.queues) for other in others)
    if status.others is not None and not takes:
        there = len(others) + sum(worker.reports for worker in status.workers)
        return f"No worker {'takes tasks' if there else 'is online'}: what comes in waits"
    needy = {word: counts[word] for word in ("stalled", "silent", "quiet", "offline") if counts[word]}
    if not needy:
        return ""
    of, number = len(status.workers) + len(others), sum(needy.values())
    said = ", ".join(f"{n} {word}" for word, n in needy.items())
    return f"{number} of {count(of, 'worker')} {'needs' if number == 1 else 'need'} attention: {said}"


def moment(when: datetime, now: datetime | None) -> str:
    """A time of today as ``13:10``, any other with its date."""
    return f"{when:%H:%M}" if now is not None and when.date() == now.date() else f"{when:%Y-%m-%d %H:%M}"


def figures(status: SystemStatus, recent: Iterable[HistoryPoint] = ()) -> dict[str, list[Any]]:
    """The strip's figures as ``[value, unit]``; what is not known is not there."""
    online = [worker for worker in status.workers if worker.reports]
    counted = [worker for worker in status.workers if worker.state != "offline"]  # a silent one may still run its tasks
    others = len(status.others or ())
    slots = sum(worker.concurrency for worker in counted)
    found: dict[str, list[Any]] = {}
    if status.known:
        unread = sum(bool(queue.error) for queue in status.queues)
        where = f"in {count(len(status.queues) - unread, 'queue')}" + (f", {unread} unreadable" if unread else "")
        found["waiting"] = [sum(queue.waiting for queue in status.queues), where]
        takes_none = sum(worker.condition in ("quiet", "draining", "drained") for worker in online)
        known_workers = f"of {len(status.workers) + others}"
        none = f", {takes_none} {'takes' if takes_none == 1 else 'take'} no tasks" if takes_none else ""
        if online or others or not any(worker.state == "silent" for worker in status.workers):
            found["online"] = [len(online) + others, known_workers + none]  # else they may be on their way back
        found["busy"] = [sum(worker.active for worker in counted), f"of {slots:,}" if slots else ""]
    if status.redis_ms is not None:
        found["redis_ms"] = [round(status.redis_ms, 1), "ms"]
    points = list(recent)
    if (latest := _latest_rates(points)) is not None:
        window = f"started/s, {latest.step.total_seconds():g} s"
        found["rate"] = [round(sum(latest.started_per_s.values()), 1), window]
    if (failures := _failures(points)) is not None:
        found["failed"] = failures
    return found


def _failures(recent: Iterable[HistoryPoint]) -> list[Any] | None:
    """How many tasks failed in the time that was recorded, and which share of those started; None: not known."""
    points = [(p, p.failed_per_s, p.step.total_seconds()) for p in recent if p.failed_per_s is not None]
    if not points:
        return None
    failed = round(sum(per_s * step_s for _, per_s, step_s in points))
    started = sum(sum(p.started_per_s.values()) * step_s for p, _, step_s in points)
    seen_s = sum(step_s for _, _, step_s in points)
    # Rates are rounded, and nobody looked in the gaps: the share is about right, and the time is what was seen.
    share = f"≈ {_percent(min(100.0, 100 * failed / started))} of started" if failed and started else ""
    seen = f"{format_duration(seen_s)} seen" if seen_s < WHOLE * RECENT_S else ""
    return [failed, ", ".join(filter(None, [share, seen]))]


def _percent(share: float) -> str:
    """With a digit behind the point where the share is small; never 0 for something."""
    return "0.1 % or less" if share <= 0.1 else f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def _latest_rates(points: Sequence[HistoryPoint]) -> HistoryPoint | None:
    """The newest point that knows rates, if it is one of the last three buckets: a console's first point has none."""
    return next((p for p in reversed(points) if p.started_per_s and p.at >= points[-1].at - 2 * p.step), None)


def tenants_card(status: SystemStatus) -> Row:
    """What the card of tenants shows; where they are not used, how they are turned on is shown in its place.

    Before anything was read there is neither: no card that goes away at once.
    """
    unused = SyncTenantConfigs.turn_on if status.tenants_in_use is False else ""
    shown = status.updated_at is not None and not unused
    return {
        "shown": shown,
        "unused": unused,
        **tenants(status.tenants, status.tenant_drift, status.updated_at),
    }


def tenants(rows: int | None, drift: TenantDrift | None, now: datetime | None) -> Row:
    """How many there are, and whether the database has moved on since the last sync."""
    words = "tenant" if rows == 1 else "tenants"
    if drift is None:
        return known(count=rows, words=words, tone="none", drift="Whether they differ from Redis is not known.")
    if drift.synced_at is None:
        said = "Not synced yet." if drift.rows else "No tenant in the database."
        return known(count=rows, words=words, tone="warn" if drift.rows else "none", drift=said)
    ended = f"{moment(drift.synced_at, now)} UTC{f' by {drift.synced_by}' if drift.synced_by else ''}"
    if drift.changed:
        since = f" since {moment(drift.since, now)} UTC" if drift.since else ""
        changes = "; ".join(one.message for one in drift.differences if one.changed)
        said = f"Changed{since}: {changes}. Last synced {ended}."
    else:
        said = f"As of the last sync, {ended}."
    left = "; ".join(one.message for one in drift.differences if not one.changed)
    return known(
        count=rows,
        words=words,
        tone="warn" if drift.differs else "ok",
        drift=f"{said} {left[0].upper()}{left[1:]}." if left else said,
        synced=drift.synced_at.timestamp(),
    )


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
