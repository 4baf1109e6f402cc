"""What goes over the wire: answers made from the model's own values, requests from the operations' declarations."""

from __future__ import annotations

import dataclasses
import typing
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from opsdash.model import (
    AuditEntry,
    Build,
    Effect,
    Failure,
    FoundTask,
    OtherWorker,
    PauseInfo,
    QueueStats,
    RunningTask,
    Snapshot,
    WorkerStats,
    Workflow,
    builds,
)
from opsdash.operation import MAX_TEXT, Operation
from opsdash.operations.cancel_workflow import act_on as cancels
from opsdash.operations.remove_task import act_on
from opsdash.services.failures.facts import STORE_ONLY
from opsdash.services.pause.verdict import verdicts

MAX_WHOLE = 2**53 - 1
"""Above it JavaScript and many JSON readers round."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
NO_NUL = r"^[^\u0000]*$"
"""PostgreSQL takes no NUL in a text, and no screen shows it."""

Text = Annotated[str, Meta(max_length=MAX_TEXT, pattern=NO_NUL)]
Whole = Annotated[int, Meta(ge=-MAX_WHOLE, le=MAX_WHOLE)]
Moment = Annotated[datetime, Meta(tz=True)]


class Read(msgspec.Struct, kw_only=True):
    """When a figure was read, and why it is not fresh."""

    taken_at: Moment
    redis_age_s: float | None
    redis_error: str


class QueuesRead(Read, kw_only=True):
    """Pending tasks of each queue, by priority; ``unacked``: fetched and not acknowledged yet, of all queues."""

    queues: tuple[QueueStats, ...]
    unacked: int


def fields_of(kind: type) -> list[tuple[str, Any]]:
    """Names and types of a record's fields."""
    hints = typing.get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]


WorkerRead = msgspec.defstruct(
    "WorkerRead",
    [*fields_of(WorkerStats), ("uptime", str), ("drained", bool), ("condition", str)],
    kw_only=True,
    namespace={
        "__doc__": "One worker, as it last reported itself; ``uptime`` is for people: ``2h 34m 12s``; ``drained``: it"
        " starts nothing, runs nothing, and has put back what it had not started; ``condition``: its state for people,"
        " which is ``quiet``, ``draining`` or ``drained`` for one that lives and takes no tasks."
    },
)


class WorkersRead(Read, kw_only=True):
    """Every worker that reported within the last day, and the others that could be asked.

    ``builds``: how many workers run which build, the one started first in front; empty where none names its build.
    """

    workers: tuple[WorkerRead, ...]  # type: ignore[valid-type] # made at run time
    builds: tuple[Build, ...]
    others: tuple[OtherWorker, ...] | None


class WorkerDetailRead(Read, kw_only=True):
    """One worker and what it runs, the longest-running first; ``more``: how many tasks besides those."""

    worker: WorkerRead  # type: ignore[valid-type] # made at run time
    running: tuple[RunningTask, ...]
    more: int


class ReasonRead(msgspec.Struct, kw_only=True):
    """One thing that keeps a pause from being safe; ``passing``: time may cure it."""

    kind: str
    workers: list[str]
    pids: list[int]
    queue: str
    number: int
    held: int
    seconds: float | None
    detail: str
    passing: bool
    message: str


class VerdictRead(msgspec.Struct, kw_only=True):
    """What is known of one pause: ``safe`` when every worker that could still run something is accounted for.

    ``age_s``: how old the figures are that it rests on. While Redis can't be read its ``state`` is ``unknown``.
    """

    queue: str | None
    state: Literal["held", "draining", "unknown", "not_held"]
    safe: bool
    message: str
    reasons: list[ReasonRead]
    notes: list[str]
    remedies: list[str]
    workers: int
    stopped: int
    running: int
    held: int
    scheduled: int
    age_s: float | None


StatusRead = msgspec.defstruct(
    "StatusRead",
    [
        ("processing", Literal["RUNNING", "PAUSED"]),
        ("verdict", VerdictRead | None),
        ("queue_verdicts", dict[str, VerdictRead]),
        *fields_of(Snapshot),
    ],
    kw_only=True,
    namespace={"__doc__": "One consistent read of everything. Stale beats blank: each half has its age and error."},
)


class FittingAct(msgspec.Struct, kw_only=True):
    """What can be done with a task where it is: POST ``params`` to ``href``, which is relative as in ``UndoRead``."""

    operation: str
    params: dict[str, Any]
    href: str


FoundTaskRead = msgspec.defstruct(
    "FoundTaskRead",
    [*fields_of(FoundTask), ("act", FittingAct | None)],
    kw_only=True,
    namespace={
        "__doc__": "Where a task is, and what was looked at, with how long ago (``age_s``). ``state`` is null where"
        " several ids begin so. ``act``: the operation that fits; null: none does."
    },
)


WORKFLOW = "The tasks of a workflow, in the order of their tree. ``act``: what cancels the rest; null: nothing is left."
WorkflowRead = msgspec.defstruct(
    "WorkflowRead", [*fields_of(Workflow), ("act", FittingAct | None)], kw_only=True, namespace={"__doc__": WORKFLOW}
)


class FailureGroupRead(msgspec.Struct, kw_only=True):
    """Failures of one kind, of one task, by one error in one place.

    ``count``: all within the time for which failures are kept; ``kept``: those that can be looked at and sent again;
    ``not_kept``: those that were counted alone. ``queue``: the one most came from. ``per_hour``: how often it comes
    lately. ``hours``: when an hour began → failures in it.
    """

    fingerprint: str
    kind: str
    task: str
    error: str
    place: str
    message_text: str
    queue: str
    count: int
    kept: int
    not_kept: int
    first_at: Moment
    last_at: Moment
    per_hour: float
    queues: dict[str, int]
    workers: dict[str, int]
    hours: dict[str, int]


FailureRead = msgspec.defstruct(
    "FailureRead",
    [*(field for field in fields_of(Failure) if field[0] not in STORE_ONLY), ("links", list[str])],
    kw_only=True,
    namespace={
        "__doc__": "One failed task that is kept; what looks secret is hidden. ``sendable``: it can be sent again."
        " ``links``: where else it is shown."
    },
)


class FailuresRead(msgspec.Struct, kw_only=True):
    """Failed tasks by group, those that failed last in front, and their sums.

    ``total``: failed tasks that are kept; ``not_kept``: failures that were counted alone. ``entries``: some tasks of
    the group that was asked for, from ``first`` on; null where none was.
    """

    total: int
    not_kept: int
    groups: list[FailureGroupRead]
    entries: list[FailureRead] | None  # type: ignore[valid-type] # made at run time
    problems: list[str]


class AuditRead(msgspec.Struct, kw_only=True):
    """A page of the audit log, newest first; ``after`` asks for the next one and is null on the last.

    A search for a text that ended before its page was full says how many entries it looked through, and of how many
    that the other filters choose (null: too many to be counted); ``after`` goes on with the search.
    """

    entries: tuple[AuditEntry, ...]
    after: str | None
    spooled: int | None
    searched: int | None
    searched_of: int | None


class OperationRead(msgspec.Struct, kw_only=True):
    """One operation: what it does, who may run it, and the JSON Schema of what it takes.

    ``used`` is false where there is nothing for it; ``turn_on`` then says how there would be. It can be run anyway.
    """

    name: str
    title: str
    help: str
    warning: str
    minimum_role: Literal["viewer", "operator", "admin"]
    danger: bool
    settles: bool
    used: bool
    turn_on: str
    request: dict[str, Any]


class OperationsRead(msgspec.Struct, kw_only=True):
    """Every operation there is."""

    operations: tuple[OperationRead, ...]


class UndoRead(msgspec.Struct, kw_only=True):
    """What takes it back: POST ``params`` to ``href``, which is relative to the address of the API's own documents."""

    operation: str
    params: dict[str, Any]
    href: str


class Outcome(msgspec.Struct, kw_only=True):
    """What an operation did, counted where it was done. ``undo_s``: how long that is possible; null: not known."""

    operation: str
    status: Literal["success", "failure"]
    affected: int
    message: str
    details: dict[str, Any]
    ok: bool
    followed: bool
    undo: UndoRead | None
    undo_s: float | None
    audit_id: UUID | None


class Part(msgspec.Struct, kw_only=True):
    """One thing that has to be there for the console to work."""

    ok: bool
    message: str


class Ready(msgspec.Struct, kw_only=True):
    """Whether the console can do its work, part by part."""

    ready: bool
    redis: Part
    database: Part
    migrations: Part


def undo_read(effect: Effect) -> UndoRead | None:
    """What takes an act back, as the next request."""
    if effect.undo is None:
        return None
    name = effect.undo.name
    return UndoRead(operation=name, params=effect.undo.params(), href=f"/api/v1/operations/{name}")


def found_task_read(found: FoundTask) -> msgspec.Struct:
    """What was found of a task, and the operation that fits."""
    return FoundTaskRead(**_values(found), act=_fitting(act_on(found.places[0]) if len(found.ids) == 1 else None))


def workflow_read(found: Workflow) -> msgspec.Struct:
    """A workflow, and the operation that cancels it."""
    return WorkflowRead(**_values(found), act=_fitting(cancels(found)))


def _fitting(act: Operation | None) -> FittingAct | None:
    href = "" if act is None else f"/api/v1/operations/{act.name}"
    return None if act is None else FittingAct(operation=act.name, params=act.params(), href=href)


def queues_read(snapshot: Snapshot) -> QueuesRead:
    """The queues of a snapshot."""
    return QueuesRead(
        taken_at=snapshot.taken_at,
        redis_age_s=snapshot.redis_age_s,
        redis_error=snapshot.redis_error,
        queues=snapshot.queues,
        unacked=snapshot.unacked,
    )


def workers_read(snapshot: Snapshot) -> WorkersRead:
    """The workers of a snapshot."""
    return WorkersRead(
        taken_at=snapshot.taken_at,
        redis_age_s=snapshot.redis_age_s,
        redis_error=snapshot.redis_error,
        workers=tuple(_worker_read(worker) for worker in snapshot.workers),
        builds=builds(snapshot.workers),
        others=snapshot.others,
    )


def worker_detail_read(snapshot: Snapshot, worker: WorkerStats, running: tuple[RunningTask, ...]) -> WorkerDetailRead:
    """One worker of a snapshot, and what it runs."""
    return WorkerDetailRead(
        taken_at=snapshot.taken_at,
        redis_age_s=snapshot.redis_age_s,
        redis_error=snapshot.redis_error,
        worker=_worker_read(worker),
        running=running,
        more=max(0, worker.active - len(running)),
    )


def _worker_read(worker: WorkerStats) -> msgspec.Struct:
    return WorkerRead(**_values(worker), uptime=worker.uptime, drained=worker.drained, condition=worker.condition)


def status_read(snapshot: Snapshot) -> msgspec.Struct:
    """All of a snapshot."""
    found = verdicts(snapshot)
    return StatusRead(
        processing="PAUSED" if snapshot.pause else "RUNNING",
        verdict=msgspec.convert(found["verdict"], VerdictRead | None),
        queue_verdicts=msgspec.convert(found["queue_verdicts"], dict[str, VerdictRead]),
        **_values(snapshot),
    )


def lasting(snapshot: Snapshot) -> Snapshot:
    """A snapshot without what differs between two reads of the same state: it says whether anything has changed."""
    pauses = {name: _lasting_pause(pause) for name, pause in snapshot.paused_queues.items()}
    return dataclasses.replace(
        snapshot,
        taken_at=LONG_AGO,
        pause=_lasting_pause(snapshot.pause) if snapshot.pause else None,
        paused_queues=pauses,
        workers=tuple(
            dataclasses.replace(worker, heartbeat_at=LONG_AGO, uptime_s=0, silent_s=0, memory_bytes=None, load=None)
            for worker in snapshot.workers
        ),
        queues=tuple(dataclasses.replace(queue, oldest_s=None) for queue in snapshot.queues),
        unacked_oldest_s=None,
        redis_age_s=None,
        redis_ms=None,
        database_age_s=None,
        tenants_age_s=None,
    )


def _lasting_pause(pause: PauseInfo) -> PauseInfo:
    # Its end is computed from its TTL at each read; with an epoch, another end is another pause.
    return pause if pause.epoch is None else dataclasses.replace(pause, expires_at=None)


def _values(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
