"""One read of everything, and one point of the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from opsdash.model.audit import Approval, AuditEntry
from opsdash.model.hold import HeldTasks
from opsdash.model.key_layout import Disagreement
from opsdash.model.notification import NotificationFigures
from opsdash.model.pause import PauseInfo
from opsdash.model.queue import QueueStats, TrashEntry
from opsdash.model.rate_limit import RateLimit
from opsdash.model.tenant import TenantDrift
from opsdash.model.time_in_queue import TimeInQueue
from opsdash.model.untrusted import Unread
from opsdash.model.worker import OtherWorker, UnmanagedLook, WorkerStats
from opsdash.values import frozen


@frozen(kw_only=True)
class HistoryPoint:
    """What one bucket of the recorded history says.

    Attributes:
        at: When the bucket began, in UTC, by Redis's clock. ``step``: how long it lasts.
        waiting: Queue → waiting messages. ``held``: queue → tasks that holds have set aside, where there are some.
        started_per_s: Queue → tasks started per second; a queue is missing where that is not known.
        failed_per_s: Tasks that failed per second, of all workers; None where that is not known.
        oldest_s: Queue → age of its oldest task, at least; a queue is missing where that is not known.
        paused: Queues with their own pause; ``*`` for the pause of all queues.
        online: Workers that reported; None while those that did before are silent, as after an outage. ``active``:
            tasks that these ran. ``slots``: of so many.
        redis_ms: Broker round trip of the console that wrote it.
        times: Queue → how long the tasks waited that began in it; a queue is missing where none did.
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
    times: Mapping[str, TimeInQueue] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)


@frozen(kw_only=True)
class Snapshot:
    """One read of everything a page shows. Stale beats blank: each half carries its own age and error.

    Attributes:
        taken_at: When this snapshot was put together, in UTC.
        pause: The pause of all queues; None while running.
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
        holds: Tasks that workers set aside as they come, and what is held of each; the oldest hold first.
        concurrency_limits: Names of which so many tasks run at once, and what waits of each; the oldest limit first.
        rate_limits: How often tasks of a name start, by task.
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
        notifications: How sending them goes; None: nothing was ever sent from this deployment.
        layout_conflicts: Where app, settings and workers disagree on the storage of messages: figures may be wrong.
    """

    taken_at: datetime
    pause: PauseInfo | None = None
    paused_queues: Mapping[str, PauseInfo] = field(default_factory=dict)
    queues: tuple[QueueStats, ...] = ()
    workers: tuple[WorkerStats, ...] = ()
    epoch: int | None = None
    others: tuple[OtherWorker, ...] | None = ()
    look: UnmanagedLook | None = field(default_factory=UnmanagedLook)
    shrinking: Mapping[str, int] = field(default_factory=dict)
    drained_in_s: float | None = None
    unacked: int = 0
    unacked_old: int = 0
    unacked_oldest_s: float | None = None
    trash: tuple[TrashEntry, ...] = ()
    approvals: tuple[Approval, ...] = ()
    holds: tuple[HeldTasks, ...] = ()
    concurrency_limits: tuple[HeldTasks, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
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
    notifications: NotificationFigures | None = None

    @classmethod
    def example(cls, **fields: Any) -> Self:
        """A snapshot for a test, in one line: a deployment that runs and is well, read just now; else as you say.

        Two queues (``celery``, where nothing waits, and ``emails``, where 3 tasks wait) and one worker that takes tasks
        from both. With ``pause`` or ``paused_queues``, its queues and its worker are as paused as these say.

        Args:
            fields: Any of the fields above, in place of the example's.
        """
        now, names = fields.get("taken_at", datetime.now(UTC)), ("celery", "emails")
        paused, alone = fields.get("pause") is not None, fields.get("paused_queues", {})
        example: dict[str, Any] = {
            "taken_at": now,
            "queues": tuple(
                QueueStats(name=name, waiting=waiting, paused=paused or name in alone, consumed=True)
                for name, waiting in zip(names, (0, 3), strict=True)
            ),
            "workers": (
                WorkerStats(
                    hostname="worker@example",
                    state="online",
                    heartbeat_at=now,
                    pid=1,
                    uptime_s=3_600.0,
                    concurrency=4,
                    pool="prefork",
                    queues=names,
                    paused=paused,
                    paused_queues=tuple(name for name in names if name in alone),
                ),
            ),
            "redis_age_s": 0.0,
            "redis_ms": 0.5,
            "database_age_s": 0.0,
            "tenants_age_s": 0.0,
            "tenants": 0,
            "tenants_in_use": False,
        }
        return cls(**example | fields)
