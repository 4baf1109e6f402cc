"""The values opsdash passes around: frozen, comparable, standard library only."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from opsdash.model.layout import Disagreement as Disagreement
from opsdash.model.operation import DeclaredOperation as DeclaredOperation
from opsdash.model.operation import Effect as Effect
from opsdash.model.operation import Progress as Progress
from opsdash.model.preview import Breakdown as Breakdown
from opsdash.model.preview import Figure as Figure
from opsdash.model.preview import Line as Line
from opsdash.model.preview import Part as Part
from opsdash.model.preview import Preview as Preview
from opsdash.model.tenant import TenantDrift as TenantDrift
from opsdash.model.untrusted import Unread as Unread
from opsdash.model.worker import Build as Build
from opsdash.model.worker import FleetLook as FleetLook
from opsdash.model.worker import OtherWorker as OtherWorker
from opsdash.model.worker import RunningTask as RunningTask
from opsdash.model.worker import WorkerStats as WorkerStats
from opsdash.model.worker import builds as builds
from opsdash.text import as_text

DETAILS_WIDTH = 50
"""Characters of an audit entry's summary that a table shows; the full JSON is one click away."""


class Role(enum.IntEnum):
    """What an actor may do. Each role includes the ones below it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


class Status(enum.StrEnum):
    """How an audit entry ended."""

    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, with which role, and through which surface.

    Attributes:
        name: User name as the proxy, the operating system or the caller gives it.
        role: None means: known, but may do and see nothing.
        surface: ``page``, ``cli``, ``api``, ``notebook`` or ``python``.
        client: The address it came from, as a trusted proxy gives it; empty where there is none.
        groups: As the proxy gives them: the role is looked up again at the moment of each act.
    """

    name: str
    role: Role | None
    surface: str = "python"
    client: str = ""
    groups: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """A name from outside may have characters that no database accepts; the attempt must be audited anyway."""
        object.__setattr__(self, "name", as_text(self.name))
        object.__setattr__(self, "client", as_text(self.client))


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One run of an operation: who, and under which audit entry.

    Attributes:
        reviewed: The preview that was confirmed; None when nobody looked at one.
        phrase: What was typed beside ``YES``.
        on_progress: Long work tells it, now and then, how far it has come.
        cancelled: Long work asks it between two steps; true means: stop at the next whole step, and say what is done.
    """

    actor: Actor
    audit_id: UUID
    reviewed: Preview | None = None
    phrase: str = ""
    on_progress: Callable[[Progress], None] = lambda _progress: None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseInfo:
    """One pause: of everything, or of one queue.

    A flag that was set by hand has no record: ``by`` is empty and ``at`` and ``epoch`` are None.

    Attributes:
        queue: None for everything.
        expires_at: When the flag's TTL ends, in UTC; None: it has none.
        epoch: The pause counter's value after this change.
    """

    queue: str | None
    by: str = ""
    reason: str = ""
    at: datetime | None = None
    expires_at: datetime | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """One queue: messages in its Redis lists, by priority step.

    Attributes:
        by_priority: Priority step → waiting messages; steps without messages are left out.
        paused: By its own pause or by the pause of all queues.
        oldest_s: Age of the oldest of the tasks that run next; None where nothing waits, or nothing is known yet.
        oldest_at_least: It is at least that old: a task that runs next does not say when it was sent.
        error: Why its length can't be read (a key of another type has its name); ``waiting`` is what could be.
        consumed: Whether a worker takes tasks from it; None while that is not known.
    """

    name: str
    waiting: int
    by_priority: Mapping[int, int] = field(default_factory=dict)
    paused: bool = False
    error: str = ""
    oldest_s: float | None = None
    oldest_at_least: bool = False
    consumed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashEntry:
    """One clear whose messages are kept.

    Attributes:
        id: What ``restore-queue`` takes.
        count: Messages that were cleared, by all priorities.
        size_bytes: Their size in Redis, estimated from a few of them; None: unknown.
        by: Who cleared them. ``at``: when, in UTC.
        expires_at: When the undo window ends, in UTC; None while something is under way: nothing expires then.
        state: ``kept``, or what was begun and has not come to its end: ``clearing`` or ``restoring``.
    """

    id: str
    queue: str
    count: int
    size_bytes: int | None = None
    by: str = ""
    at: datetime | None = None
    expires_at: datetime | None = None
    state: str = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """What one bucket of the recorded history says.

    Attributes:
        at: When the bucket began, in UTC, by Redis's clock. ``step``: how long it lasts.
        waiting: Queue → waiting messages.
        started_per_s: Queue → tasks started per second; a queue is missing where that is not known.
        failed_per_s: Tasks that failed per second, of all workers; None where that is not known.
        oldest_s: Queue → age of its oldest task, at least; a queue is missing where that is not known.
        paused: Queues with their own pause; ``*`` for the pause of all queues.
        online: Workers that reported; None while those that did before are silent, as after an outage. ``active``:
            tasks that these ran. ``slots``: of so many.
        redis_ms: Broker round trip of the console that wrote it.
    """

    at: datetime
    step: timedelta
    waiting: Mapping[str, int]
    started_per_s: Mapping[str, float]
    oldest_s: Mapping[str, float] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    online: int | None = None
    active: int | None = None
    slots: int | None = None
    redis_ms: float | None = None
    failed_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act, or attempt, in the audit log.

    Attributes:
        timestamp: When it was begun, in UTC. ``finished_at``: when its outcome was written; None while in progress.
        details: ``message``, ``params``, ``surface``, ``client``, ``previewed``, ``took_s``; more by operation.
        seq: Its number in the hash chain; None until it is finished. ``key_id``: which key made ``seal``.
        broker: Where it was done, as `broker_identity` gives it; None: unknown. It is taken from
            the details, which the HMAC covers.
    """

    id: UUID
    timestamp: datetime
    user: str
    operation: str
    status: Status
    details: Mapping[str, Any]
    request_id: UUID
    finished_at: datetime | None = None
    seq: int | None = None
    key_id: str | None = None
    seal: str | None = None
    broker: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Stored once, in the details: a console of another version keeps it too."""
        told = self.details.get("broker")
        object.__setattr__(self, "broker", told if isinstance(told, str) else None)

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> AuditEntry:
        """The entry from which ``to_plain`` made the mapping; it has no HMAC yet."""
        return cls(
            id=UUID(raw["id"]),
            timestamp=datetime.fromisoformat(raw["timestamp"]),
            user=raw["user"],
            operation=raw["operation"],
            status=Status(raw["status"]),
            details=raw["details"],
            request_id=UUID(raw["request_id"]),
            finished_at=datetime.fromisoformat(raw["finished_at"]) if raw["finished_at"] else None,
        )

    @property
    def title(self) -> str:
        """The operation's name for people, e.g. ``Clear Queue``."""
        return self.operation.replace("_", " ").title()

    @property
    def reason(self) -> str:
        """The reason that the user gave."""
        params = self.details.get("params")
        return str(params.get("reason") or "") if isinstance(params, Mapping) else ""

    @property
    def told(self) -> str:
        """What happened: the outcome's message, else the parameters."""
        return str(self.details.get("message") or json.dumps(self.details.get("params", {}), default=str))

    @property
    def summary(self) -> str:
        """The same in at most 50 characters."""
        text = self.told
        return text if len(text) <= DETAILS_WIDTH else text[: DETAILS_WIDTH - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An act that waits for a different operator's YES.

    Attributes:
        id: What ``opsdash approve`` takes.
        operation: Its name; ``title``: for people. ``params``: its parameters.
        by: Who asked. ``at``: when, in UTC. ``surface``: through which surface.
        expires_at: When its time is over, in UTC.
        problem: Why this opsdash can't do it, in a sentence; empty when it can.
    """

    id: str
    operation: str
    title: str
    params: Mapping[str, Any]
    by: str
    at: datetime
    expires_at: datetime
    surface: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One read of everything a page shows. Stale beats blank: each half carries its own age and error.

    Attributes:
        taken_at: When this snapshot was put together, in UTC.
        pause: The pause of everything; None while running.
        paused_queues: Queues with their own pause.
        epoch: The pause counter; None: there is none.
        others: Workers that are not managed by opsdash; None: they could not be asked.
        look: What asking for them has found since the last change of a pause; None: nobody was asked since.
        shrinking: Paused queue → tasks it has lost meanwhile, and not by opsdash.
        drained_in_s: While everything is paused: the estimated time until nothing runs; None: unknown.
        unacked: Messages that were fetched and are not acknowledged yet, over all queues: reserved, scheduled, and
            those running tasks that have ``acks_late``.
        unacked_old: Those of them that were there before the oldest of the reports. ``unacked_oldest_s``: age of the
            oldest; None: there is none.
        trash: Clears that can be undone, the newest first.
        approvals: Acts that wait for a second person, the oldest first.
        tenant_drift: Whether the tenants' database has moved on since the last sync; None while not known.
        tenants_in_use: There are tenants, there were some, or a setting says where; None while not known.
        redis_age_s: Seconds since the Redis half was read; None when it never was.
        redis_error: Why the Redis half is not fresh; empty when it is.
        redis_ms: Broker round trip of the last good read, in milliseconds.
        database_age_s: As ``redis_age_s``, for ``operations``. ``tenants_age_s``: for ``tenants`` and their drift.
        database_error: As ``redis_error``. ``tenants_error``: the log may be read while the tenants can't be.
        silent: Which of ``redis``, ``database`` and ``tenants`` did not answer at all; an answer with an error is one.
        audit_head: ``number:seal`` of the newest entry in the hash chain.
        spooled: Steps of the audit log that wait in the outbox; None: unknown.
        unread: Data in Redis that is not shown: too much, or not readable.
        layout_conflicts: Where app, settings and workers disagree on the storage of messages: figures may be wrong.
    """

    taken_at: datetime
    pause: PauseInfo | None = None
    paused_queues: Mapping[str, PauseInfo] = field(default_factory=dict)
    queues: tuple[QueueStats, ...] = ()
    workers: tuple[WorkerStats, ...] = ()
    epoch: int | None = None
    others: tuple[OtherWorker, ...] | None = ()
    look: FleetLook | None = field(default_factory=FleetLook)
    shrinking: Mapping[str, int] = field(default_factory=dict)
    drained_in_s: float | None = None
    unacked: int = 0
    unacked_old: int = 0
    unacked_oldest_s: float | None = None
    trash: tuple[TrashEntry, ...] = ()
    approvals: tuple[Approval, ...] = ()
    operations: tuple[AuditEntry, ...] = ()
    tenants: int | None = None
    tenant_drift: TenantDrift | None = None
    tenants_in_use: bool | None = None
    redis_age_s: float | None = None
    redis_error: str = ""
    redis_ms: float | None = None
    database_age_s: float | None = None
    database_error: str = ""
    tenants_age_s: float | None = None
    tenants_error: str = ""
    silent: tuple[str, ...] = ()
    audit_head: str = ""
    spooled: int | None = 0
    layout_conflicts: tuple[Disagreement, ...] = ()
    unread: tuple[Unread, ...] = ()


def to_plain(value: Any) -> Any:
    """A value of this module as what ``json.dumps`` takes: times in ISO 8601, enums by name or value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Role):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value
