"""One browser session's view of the system: a snapshot as Param parameters that widgets follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import param

from opsdash.model import QueueStats, Snapshot, TenantDrift
from opsdash.services.pause.verdict import verdict
from opsdash.services.pause.verdict_text import describe, describe_builds

RUNNING, PAUSED, UNKNOWN = "RUNNING", "PAUSED", "UNKNOWN"
STALE_AFTER_S = 10.0
"""Figures older than this are called old, whatever the reason: nothing here is read less often (R14)."""


class SystemStatus(param.Parameterized):
    """What the page knows. Fed by ``update``; everything that follows from it is derived, never assigned."""

    known = param.Boolean(default=False, doc="Redis has been read at least once; without it paused means nothing.")
    paused = param.Boolean(default=False, doc="Everything is paused.")
    pause_by = param.String(default="", doc="Who paused; empty for a flag that was set by hand.")
    pause_reason = param.String(default="")
    pause_since = param.Parameter(default=None, allow_refs=False, doc="When, in UTC; None when unknown.")
    pause_until = param.Parameter(
        default=None, allow_refs=False, doc="When the pause ends by itself, in UTC; None: never."
    )
    drain = param.String(default="", doc="How far the pause of everything has come, worker by worker, as a sentence.")
    safe = param.Boolean(default=False, doc="Everything is paused, and known to have stopped.")
    drain_workers = param.Integer(default=0, doc="Workers that report and are meant to stop; 0 without a pause.")
    drain_stopped = param.Integer(default=0, doc="How many of them have stopped.")
    paused_queues = param.Dict(default={}, doc="Queue -> PauseInfo, for queues with their own pause.")
    queues = param.List(default=[], allow_refs=False, doc="QueueStats of every known queue.")
    selected_queue = param.String(default="", doc="The queue this session looks at and would clear.")
    pending_tasks = param.Integer(
        default=None, allow_None=True, doc="Waiting in the selected queue; None while unknown."
    )
    workers = param.List(default=[], allow_refs=False, doc="WorkerStats, as last reported.")
    others = param.List(
        default=None,
        allow_None=True,
        allow_refs=False,
        doc="OtherWorker: unmanaged workers; None: they could not be asked.",
    )
    unacked = param.Integer(default=0, doc="Messages that were fetched and are not acknowledged yet.")
    trash = param.List(default=[], allow_refs=False, doc="TrashEntry of every clear that can be undone, newest first.")
    approvals = param.List(default=[], allow_refs=False, doc="Approval: acts that wait for a second person.")
    operations = param.List(default=[], allow_refs=False, doc="AuditEntry, newest first.")
    tenants = param.Integer(default=None, allow_None=True, doc="Rows of tenant_config; None while unknown.")
    tenant_drift = param.ClassSelector(
        class_=TenantDrift, default=None, allow_None=True, allow_refs=False, doc="Since the last sync; None: unknown."
    )
    updated_at = param.Parameter(default=None, allow_refs=False, doc="When the snapshot was taken, in UTC.")
    redis_error = param.String(default="", doc="Why Redis figures are not fresh; empty when they are.")
    redis_age_s = param.Number(default=None, allow_None=True, doc="Age of the Redis figures; None: never read.")
    redis_ms = param.Number(default=None, allow_None=True, doc="Broker round trip of the last good read.")
    database_error = param.String(default="", doc="Why the log is not fresh; empty when it is.")
    database_age_s = param.Number(default=None, allow_None=True, doc="Age of the database figures; None: never read.")
    tenants_in_use = param.Boolean(
        default=None, allow_None=True, doc="There are tenants, or a setting says where; None while unknown."
    )
    tenants_error = param.String(default="", doc="Why the tenants' figures are not fresh; empty when they are.")
    tenants_age_s = param.Number(default=None, allow_None=True, doc="Age of the tenants' figures; None: never read.")
    silent = param.List(default=[], allow_refs=False, doc="Of redis, database, tenants: what did not answer at all.")
    spooled = param.Integer(
        default=0, allow_None=True, doc="Steps of the audit log that wait in Redis for the database; None: unknown."
    )
    layout_conflicts = param.List(
        default=[], allow_refs=False, doc="Disagreement: on how messages lie in Redis; figures may be wrong."
    )
    unread = param.List(default=[], allow_refs=False, doc="Unread: data in Redis that is not shown.")
    stalled_s = param.Integer(default=0, doc="Seconds without any snapshot, once that is too long; else 0.")

    processing_status: param.Selector[str] = param.Selector(
        default=UNKNOWN, objects=[RUNNING, PAUSED, UNKNOWN], constant=True
    )
    can_pause = param.Boolean(default=False, constant=True)
    can_resume = param.Boolean(default=False, constant=True)

    _snapshot: Snapshot | None = None

    @param.depends("known", "paused", watch=True, on_init=True)
    def _derive_processing(self) -> None:
        running = self.known and not self.paused
        paused = self.known and self.paused
        with param.edit_constant(self):
            self.param.update(
                processing_status=PAUSED if paused else RUNNING if running else UNKNOWN,
                can_pause=running,
                can_resume=paused,
            )

    @param.depends("queues", "selected_queue", "known", watch=True)
    def _derive_pending(self) -> None:
        chosen = self.queue(self.selected_queue)
        self.pending_tasks = chosen.waiting if chosen is not None and self.known else None

    def queue(self, name: str) -> QueueStats | None:
        """The named queue's figures, or None for a queue nobody knows."""
        return next((queue for queue in self.queues if queue.name == name), None)

    def update(self, snapshot: Snapshot) -> None:
        """Takes over one snapshot as a whole: watchers run once, on a consistent state."""
        self._snapshot, pause, stand = snapshot, snapshot.pause, verdict(snapshot)
        names = [queue.name for queue in snapshot.queues]
        selected = self.selected_queue
        if names and selected not in names:
            selected = "celery" if "celery" in names else names[0]
        self.param.update(
            known=snapshot.redis_age_s is not None,
            paused=pause is not None,
            pause_by=pause.by if pause else "",
            pause_reason=pause.reason if pause else "",
            pause_since=pause.at if pause else None,
            pause_until=pause.expires_at if pause else None,
            drain=" ".join(filter(None, [describe(stand), describe_builds(snapshot.workers)])) if stand else "",
            safe=stand is not None and stand.safe,
            drain_workers=stand.workers if stand else 0,
            drain_stopped=stand.stopped if stand else 0,
            paused_queues=dict(snapshot.paused_queues),
            queues=list(snapshot.queues),
            selected_queue=selected,
            workers=list(snapshot.workers),
            others=None if snapshot.others is None else list(snapshot.others),
            unacked=snapshot.unacked,
            trash=list(snapshot.trash),
            approvals=list(snapshot.approvals),
            operations=list(snapshot.operations),
            tenants=snapshot.tenants,
            tenant_drift=snapshot.tenant_drift,
            tenants_in_use=snapshot.tenants_in_use,
            updated_at=snapshot.taken_at,
            redis_error=snapshot.redis_error,
            redis_age_s=snapshot.redis_age_s,
            redis_ms=snapshot.redis_ms,
            database_error=snapshot.database_error,
            database_age_s=snapshot.database_age_s,
            tenants_error=snapshot.tenants_error,
            tenants_age_s=snapshot.tenants_age_s,
            silent=list(snapshot.silent),
            spooled=snapshot.spooled,
            layout_conflicts=list(snapshot.layout_conflicts),
            unread=list(snapshot.unread),
            stalled_s=0,
        )

    @property
    def snapshot(self) -> Snapshot | None:
        """The last snapshot; None before the first."""
        return self._snapshot

    def tick(self, now: datetime | None = None) -> None:
        """Notices that snapshots have stopped coming; called by a timer."""
        if self.updated_at is None:
            return
        silent_s = ((now or datetime.now(UTC)) - self.updated_at).total_seconds()
        self.stalled_s = int(silent_s) if silent_s > STALE_AFTER_S else 0

    @property
    def redis_stale(self) -> bool:
        """The Redis half is not what it is now."""
        return bool(self.redis_error or self.stalled_s)

    @property
    def redis_read_at(self) -> datetime | None:
        """When the Redis half was read, in UTC; None before the first time."""
        if self.updated_at is None or self.redis_age_s is None:
            return None
        read_at: datetime = self.updated_at - timedelta(seconds=self.redis_age_s)
        return read_at

    @property
    def stale(self) -> tuple[str, ...]:
        """One sentence for each half that is not fresh, or may be wrong; empty when all is well."""
        found = []
        if self.stalled_s:
            found.append(f"No new figures for {self.stalled_s} s; the page may be out of date")
        elif self.redis_error:
            found.append(self._outage("redis", "Redis", self.redis_error, self.redis_age_s, "figures are"))
        if self.database_error and not self.stalled_s:
            tenants = self.tenants_error and self.tenants_in_use is not False
            what = "log and tenants are" if tenants else "the log is"
            found.append(self._outage("database", "The database", self.database_error, self.database_age_s, what))
        elif self.tenants_error and not self.stalled_s:  # else the log's outage is the tenants' as a rule
            who, age_s = "The tenants' database", self.tenants_age_s
            found.append(self._outage("tenants", who, self.tenants_error, age_s, "the tenants are"))
        if self.spooled:
            found.append(f"{self.spooled} steps of the log wait in Redis for the database")
        found += [one.message.rstrip(".") for one in (*self.layout_conflicts, *self.unread)]
        return tuple(found)

    def _outage(self, part: str, who: str, error: str, age_s: float | None, what: str) -> str:
        # An outage in short; anything else (a wrong password, a missing table) is for the operator to read and mend.
        reason = f"{who} did not answer" if part in self.silent else error.rstrip(".")
        return f"{reason}; nothing is known yet" if age_s is None else f"{reason}; {what} {age_s:.0f} s old"
