"""From figures to what a table or the strip shows: plain functions on plain values.

What is None is left out of a row: the browser shows a dash, and a merge patch means "gone" by null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from opsdash.model import (
    Approval,
    AuditEntry,
    HeldTasks,
    HistoryPoint,
    Hold,
    QueueStats,
    Snapshot,
    Status,
    TenantDrift,
    TrashEntry,
    times,
    untrusted,
)
from opsdash.operation import Operation, heading_of, recorded
from opsdash.operations import (
    ApproveOperation,
    ClearHeld,
    ClearQueue,
    ClearTasks,
    DeleteTrash,
    HoldTasks,
    HoldTenant,
    PauseProcessing,
    ReleaseTasks,
    ReleaseTenant,
    RestoreQueue,
    ResumeProcessing,
    SyncTenantConfigs,
)
from opsdash.operations.approve import described
from opsdash.services.monitoring import pace_text
from opsdash.services.pause import hold_text, limit_text
from opsdash.state.status import DEGRADED, PARTLY_PAUSED, PAUSED, RUNNING, SystemStatus
from opsdash.text import choices, count
from opsdash.views.components.sparkline import sparkline
from opsdash.views.form import asking
from opsdash.views.strip import latest_rates, spark_point

Row = dict[str, Any]
May = Callable[[type[Operation]], bool]

PEEK = "peek"
"""The act of a queue's row that is no operation."""
NO_WORKERS = "No active workers detected. Check Celery deployment."
NO_OPERATIONS = "No operations logged yet."
SPARK_EVERY = 3
"""A queue's small line shows every third point: it is 96 pixels wide."""
MAX_SPARKS = 50
"""Queues that have such a line: 200 of them would be 100 kB every ten seconds for each page."""
CONDITION_TONES = {RUNNING: "ok", PARTLY_PAUSED: "warn", PAUSED: "warn", DEGRADED: "bad"}
STATUS_TONES = {
    Status.SUCCESS: "ok",
    Status.FAILURE: "bad",
    Status.REFUSED: "bad",
    Status.IN_PROGRESS: "info",
    Status.UNKNOWN: "warn",
}


def known(**fields: Any) -> Row:
    """A row with the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def act(operation: type[Operation], label: str, help_: str, *, usual: bool = False) -> Row:
    """What may be done to a row; the usual acts are buttons, the others are in the row's menu."""
    return {"name": operation.name, "label": label, "help": help_, "usual": usual, "danger": operation.danger}


def steady(at: float, before: float | None) -> int:
    """A time that was given as an age, in whole seconds; one that moved by less than two seconds has not moved."""
    return round(at) if before is None or abs(at - before) >= 2 else round(before)


def _spark(queue: str, points: Iterable[HistoryPoint]) -> Any:
    return sparkline([spark_point(point, point.waiting.get(queue)) for point in points])


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
    rates = latest.started_per_s if (latest := latest_rates(points)) else {}
    rows = {}
    for rank, queue in enumerate(queues):
        own = status.paused_queues.get(queue.name)
        acts = []
        if own is not None and may(ResumeProcessing):
            acts.append(act(ResumeProcessing, "Resume", "End the pause of this queue", usual=True))
        if own is None and status.known and may(PauseProcessing):
            acts.append(act(PauseProcessing, "Pause", "Pause this queue only", usual=True))
        acts.append({"name": PEEK, "label": "Peek", "help": "What waits in it", "usual": True})
        if may(ClearQueue):
            acts.append(act(ClearTasks, "Clear some", "Those that match a name, an age or a text"))
            acts.append(act(ClearQueue, "Clear", "All pending tasks of this queue"))
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
            wait=_wait(queue),
            wait_s=queue.pace.recent.p95_s if queue.pace and queue.pace.recent else None,
            spark=_spark(queue.name, thinned) if rank < MAX_SPARKS else None,
            acts=acts,
        )
    return rows


def _wait(queue: QueueStats) -> list[str] | None:
    """The time in queue, how its objective is kept, and whether it falls behind; None: nothing is known."""
    pace = queue.pace
    if pace is None:
        return None
    missed = pace.objective is not None and pace.objective.kept is False
    met = pace.objective is not None and pace.objective.kept is True
    tone = "bad" if missed else "warn" if pace.falling_behind else "ok" if met else "none"
    word, said = pace_text.wait(pace.recent), pace_text.remarks(pace, queue.waiting)
    return [tone, word or (said.pop(0) if said else ""), "; ".join(said)] if word or said else None


def _queue_state(queue: QueueStats, status: SystemStatus, own: Any) -> list[str]:
    if queue.error:
        return ["bad", "unreadable", queue.error]
    if own is not None:
        by = f"by {own.by}" if own.by else "outside opsdash"
        until = f", until {moment(own.expires_at, status.updated_at)} UTC" if own.expires_at else ", without an end"
        return ["warn", "paused", f"{by}{until}{f': {own.reason}' if own.reason else ''}"]
    if status.paused:
        return ["warn", "paused", "all queues"]
    if status.known and queue.consumed is False:
        return ["warn", "no consumer", "no worker takes tasks from it"]
    return ["ok", "running", ""] if status.known else ["none", "unknown", ""]


def operation_rows(
    entries: Iterable[AuditEntry], undoable: Mapping[UUID, Operation] = MappingProxyType({}), here: str = ""
) -> dict[str, Row]:
    """One row per audit entry by id; what its details hold is read when it is opened.

    Args:
        here: This console's broker; of an entry about another one the row says which.
        undoable: Id of an entry → what undoes it, if the user may.
    """
    return {
        str(entry.id): known(
            timestamp=entry.timestamp.timestamp(),
            called=f"the operation at {entry.timestamp:%H:%M:%S}",
            user=entry.user,
            operation=heading_of(entry),
            act=entry.title if entry.target else heading_of(entry),
            target=entry.target or None,
            status=[STATUS_TONES.get(entry.status, "warn"), entry.status.value.replace("_", " "), ""],
            summary=entry.summary if entry.broker in (None, here) else f"On {entry.broker}: {entry.summary}",
            took=None if (took_s := untrusted.figure(entry.details.get("took_s"))) is None else f"{took_s:.2f} s",
            surface=str(entry.details["surface"]) if "surface" in entry.details else None,
            why=entry.reason or None,
            broker=None if entry.broker == here else entry.broker,
            acts=[act(type(undo), "Undo", _until(entry), usual=True)] if (undo := undoable.get(entry.id)) else None,
            undo=asking(undo) if undo else None,
        )
        for entry in entries
    }


def undos(entries: Iterable[AuditEntry], snapshot: Snapshot | None, may: May) -> dict[UUID, Operation]:
    """Id of an entry → what undoes it, if that is still possible and the user may."""
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
    return f"until {times.clock(until)}" if until is not None else "undoes it"


def trash_rows(entries: Iterable[TrashEntry], *, may: bool) -> dict[str, Row]:
    """One row per clear that can be undone, by its id.

    Args:
        may: The user may restore and delete.
    """
    acts = [
        act(RestoreQueue, "Restore", "Put back into the queue", usual=True),
        act(DeleteTrash, "Delete", "Permanently"),
    ]
    return {
        entry.id: known(
            at=entry.at.timestamp() if entry.at else None,
            name=entry.name,
            queue=entry.name,
            count=entry.count,
            size=entry.size_bytes,
            by=entry.by,
            until=round(entry.expires_at.timestamp()) if entry.expires_at else None,
            state="kept" if entry.state == "kept" else f"{entry.state}, not finished",
            acts=acts if may else None,
        )
        for entry in entries
    }


def hold_rows(holds: Iterable[HeldTasks], *, may: May) -> dict[str, Row]:
    """One row per hold, by its id."""

    def acts(hold: Hold) -> list[Row] | None:
        tenant = hold.kind == "tenant"
        of: tuple[tuple[type[Operation], str, str], ...] = (
            (ReleaseTenant if tenant else ReleaseTasks, "Release", "They are the next to run, in their order"),
            (HoldTenant if tenant else HoldTasks, "Change", "Its end or its reason"),
            (ClearHeld, "Clear", "Move what is held to the trash"),
        )
        return [act(*one, usual=one[1] == "Release") for one in of if may(one[0])] or None

    return {
        one.hold.id: known(
            name=one.hold.name if one.hold.kind == "task" else f"tenant {one.hold.name}",
            queue=one.hold.queue or "any",
            count=one.held,
            oldest=round(one.oldest_at.timestamp()) if one.oldest_at else None,
            until=round(one.hold.expires_at.timestamp()) if one.hold.expires_at else None,
            by=one.hold.by,
            reason=one.hold.reason or None,
            workers=f"{one.workers} of {one.of}",
            note=f"{', '.join(one.without[:3])} can't hold {one.hold.name}, and run them." if one.without else None,
            acts=acts(one.hold),
        )
        for one in holds
    }


def approval_rows(waiting: Iterable[Approval], *, may: bool) -> dict[str, Row]:
    """One row per act that waits for a second person, by its id.

    Args:
        may: The user may approve, except the own requests.
    """
    return {
        waits.id: known(
            at=round(waits.at.timestamp()),
            name=described(waits),
            called=f"the request of {waits.by} at {waits.at:%H:%M:%S}",
            by=waits.by,
            surface=waits.surface,
            until=round(waits.expires_at.timestamp()),
            acts=[act(ApproveOperation, "Approve", f"The request of {waits.by} runs then", usual=True)]
            if may and not waits.problem
            else None,
        )
        for waits in waiting
    }


def status_tone(status: SystemStatus) -> str:
    """Colour of the status: running is calm while it is sure, a pause of anything can't be overlooked."""
    return CONDITION_TONES.get(status.condition, "none")


def pause_story(status: SystemStatus) -> str:
    """Who paused, since when, until when; what the deployment is doing otherwise, or did when that was known last.

    Why it is not known now, and since when, is said once, by ``SystemStatus.stale``.
    """
    if status.processing_status == PAUSED:
        parts = [f"Paused by {status.pause_by}" if status.pause_by else "Paused outside opsdash"]
        if status.pause_since:
            parts.append(f"since {moment(status.pause_since, status.updated_at)}")
        parts.append(
            f"until {moment(status.pause_until, status.updated_at)} UTC" if status.pause_until else "without an end"
        )
        return f"{' '.join(parts)}."
    if status.processing_status != RUNNING:
        return "" if status.redis_error else "Reading the deployment …"
    paused = len(status.paused_queues)
    held = ". ".join(filter(None, [hold_text.held(status.holds, status.updated_at), *limit_text.limited(status)]))
    if paused:
        said = f"{paused} of {len(status.queues)} queues paused: {choices(sorted(status.paused_queues))}"
    elif status.redis_stale:
        said = "nothing paused"  # of the workers nothing is known by now
    else:
        said = attention(status) or ("" if held else "Workers pick up tasks from every queue")
    said = ". ".join(filter(None, [said, held]))
    return f"Last known: {said}" if status.redis_stale else said


def attention(status: SystemStatus) -> str:
    """Which workers need a look, as a sentence; empty where none does."""
    others = status.others or ()
    if status.no_worker_takes_tasks:
        there = len(others) + sum(worker.reports for worker in status.workers)
        return f"No worker {'takes tasks' if there else 'is online'}: new tasks wait"
    needy = status.needy_workers
    if not needy:
        return ""
    of, number = len(status.workers) + len(others), sum(needy.values())
    said = ", ".join(f"{n} {word}" for word, n in needy.items())
    return f"{number} of {count(of, 'worker')} {'needs' if number == 1 else 'need'} attention: {said}"


def moment(when: datetime, now: datetime | None) -> str:
    """A time of today as ``13:10``, any other with its date."""
    return f"{when:%H:%M}" if now is not None and when.date() == now.date() else f"{when:%Y-%m-%d %H:%M}"


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
        return known(count=rows, words=words, tone="none", drift="It is not known whether they differ from Redis.")
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
