"""One browser session's view of the system: a snapshot as Param parameters that widgets follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import param
from param.parameterized import batch_call_watchers

from opsdash.model import NotificationFigures, QueueStats, Snapshot, TenantDrift
from opsdash.services.pause.verdict import verdict
from opsdash.services.pause.verdict_text import describe, describe_builds
from opsdash.state.changes import set_changed

RUNNING, PAUSED, UNKNOWN = "RUNNING", "PAUSED", "UNKNOWN"
PARTLY_PAUSED, DEGRADED = "PARTLY PAUSED", "DEGRADED"
STALE_AFTER_S = 10.0
"""Figures older than this are called old, whatever the reason: nothing here is read less often (R14)."""


class SystemStatus(param.Parameterized):
    """What one browser session or widget knows of the deployment. Bind to its parameters, or watch them.

    Only ``selected_queue`` is for you to set. All others are read-only: ``update`` feeds them from a snapshot, as a
    whole, and what follows from them is derived. A test sets them by ``update(Snapshot(...))``.
    """

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
    selected_queue: param.Selector[str] = param.Selector(
        default="",
        objects=[""],
        check_on_set=False,
        allow_refs=True,
        doc="The queue this session looks at and would clear: one of those that are known, once any is.",
    )
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
    holds = param.List(default=[], allow_refs=False, doc="HeldTasks of every hold, the oldest hold first.")
    concurrency_limits = param.List(default=[], allow_refs=False, doc="HeldTasks of every limit, the oldest first.")
    rate_limits = param.List(default=[], allow_refs=False, doc="RateLimit of every task that has one, by task.")
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
    notifications = param.ClassSelector(
        class_=NotificationFigures,
        default=None,
        allow_None=True,
        allow_refs=False,
        doc="How sending notifications goes; None: nothing was ever sent.",
    )
    layout_conflicts = param.List(
        default=[], allow_refs=False, doc="Disagreement: on how messages lie in Redis; figures may be wrong."
    )
    unread = param.List(default=[], allow_refs=False, doc="Unread: data in Redis that is not shown.")
    stalled_s = param.Integer(default=0, doc="Seconds without any snapshot, once that is too long; else 0.")

    processing_status: param.Selector[str] = param.Selector(
        default=UNKNOWN, objects=[RUNNING, PAUSED, UNKNOWN], doc="Whether everything is paused."
    )
    condition: param.Selector[str] = param.Selector(
        default=UNKNOWN,
        objects=[RUNNING, PARTLY_PAUSED, PAUSED, DEGRADED, UNKNOWN],
        doc="The same, and whether something needs a look: a queue with its own pause, a worker, old figures.",
    )
    can_pause = param.Boolean(default=False, doc="There is something to pause.")
    can_resume = param.Boolean(default=False, doc="Everything is paused, so it can be resumed.")

    _snapshot: Snapshot | None = None

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        # Of this instance alone: Param's own edit_constant opens the class's parameters, for every thread at once.
        self._fed = [self.param[name] for name in self.param if name not in {"name", "selected_queue"}]
        self._feeding = 0
        self._lock(True)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Fed parameters may be set inside; a SystemStatus is fed by one thread at a time."""
        if not hasattr(self, "_fed"):  # Param derives once before __init__ has ended
            yield
            return
        self._feeding += 1
        self._lock(False)
        try:
            yield
        finally:
            self._feeding -= 1
            if not self._feeding:
                self._lock(True)

    def _lock(self, constant: bool) -> None:
        for one in self._fed:
            # Parameter's own __setattr__ looks for watchers of the slot: for all of them 0.2 ms, again and again.
            object.__setattr__(one, "constant", constant)

    @param.depends("known", "paused", watch=True, on_init=True)
    def _derive_processing(self) -> None:
        running = self.known and not self.paused
        paused = self.known and self.paused
        word = PAUSED if paused else RUNNING if running else UNKNOWN
        with self._open():
            set_changed(self, processing_status=word, can_pause=running, can_resume=paused)

    @param.depends("processing_status", "paused_queues", "workers", "others", "redis_error", "stalled_s", watch=True)
    def _derive_condition(self) -> None:
        with self._open():
            set_changed(self, condition=self._condition())

    def _condition(self) -> str:
        if self.processing_status != RUNNING:
            return str(self.processing_status)
        if self.redis_stale:
            return UNKNOWN
        if self.paused_queues:
            return PARTLY_PAUSED
        return DEGRADED if self.needy_workers or self.no_worker_takes_tasks else RUNNING

    @property
    def needy_workers(self) -> dict[str, int]:
        """Workers that need a look, by their condition: stalled, silent, quiet, offline."""
        counts = Counter(worker.condition for worker in self.workers)
        return {word: counts[word] for word in ("stalled", "silent", "quiet", "offline") if counts[word]}

    @property
    def no_worker_takes_tasks(self) -> bool:
        """It is known that no worker takes tasks: new ones wait."""
        if self.others is None:
            return False
        takes = any(worker.condition in ("online", "stalled") for worker in self.workers)
        return not takes and not any(other.queues for other in self.others)

    @param.depends("queues", "selected_queue", "known", watch=True)
    def _derive_pending(self) -> None:
        chosen = self.queue(self.selected_queue)
        with self._open():
            set_changed(self, pending_tasks=chosen.waiting if chosen is not None and self.known else None)

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
        self._choose_among(names)
        # What follows is worked out before any watcher runs: none of them sees half of a snapshot.
        with batch_call_watchers(self), self._open():
            set_changed(
                self,
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
                holds=list(snapshot.holds),
                concurrency_limits=list(snapshot.concurrency_limits),
                rate_limits=list(snapshot.rate_limits),
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
                notifications=snapshot.notifications,
                layout_conflicts=list(snapshot.layout_conflicts),
                unread=list(snapshot.unread),
                stalled_s=0,
            )
            self._derive()

    def _choose_among(self, names: list[str]) -> None:
        """From now on ``selected_queue`` is one of these, and anything else a ``ValueError``; before, it may be any."""
        choice = self.param.selected_queue
        if names and list(choice.objects) != names:
            choice.check_on_set = False
            choice.objects = names
            choice.check_on_set = True

    @property
    def snapshot(self) -> Snapshot | None:
        """The last snapshot; None before the first."""
        return self._snapshot

    def tick(self, now: datetime | None = None, old_s: float = STALE_AFTER_S) -> None:
        """Notices that snapshots have stopped coming; called by a timer.

        Args:
            now: Default: now. ``old_s``: Seconds after which they are called old; never less than ten.
        """
        if self.updated_at is None:
            return
        silent_s = ((now or datetime.now(UTC)) - self.updated_at).total_seconds()
        with batch_call_watchers(self), self._open():
            set_changed(self, stalled_s=int(silent_s) if silent_s > max(STALE_AFTER_S, old_s) else 0)
            if self.stalled_s:  # how far a pause had come then says nothing about now
                set_changed(self, drain="", safe=False)
            self._derive()

    def _derive(self) -> None:
        self._derive_processing()
        self._derive_condition()
        self._derive_pending()

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
        if self.notifications is not None and (fault := self.notifications.fault(datetime.now(UTC))):
            found.append(fault)
        found += [one.message.rstrip(".") for one in (*self.layout_conflicts, *self.unread)]
        return tuple(found)

    def _outage(self, part: str, who: str, error: str, age_s: float | None, what: str) -> str:
        # An outage in short; anything else (a wrong password, a missing table) is for the operator to read and mend.
        reason = f"{who} did not answer" if part in self.silent else error.rstrip(".")
        return f"{reason}; nothing is known yet" if age_s is None else f"{reason}; {what} {age_s:.0f} s old"
