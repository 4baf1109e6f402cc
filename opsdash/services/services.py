"""What an operation may use: everything it reads and writes by, and nothing of the console that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opsdash.config.settings import Settings
from opsdash.model import Act, AuditEntry, Effect, Snapshot
from opsdash.services.broker.client import Broker
from opsdash.services.once import Once

if TYPE_CHECKING:  # each is imported when it is first used: most of the time of a command are its imports
    import sqlalchemy as sa

    from opsdash.services.audit.approvals import Approvals
    from opsdash.services.audit.chain import ChainSigner
    from opsdash.services.audit.log import AuditLog
    from opsdash.services.audit.outbox import Outbox
    from opsdash.services.audit.reaper import Reaper
    from opsdash.services.failures.reading import FailedTasks
    from opsdash.services.monitoring.brief_reads import BriefReads
    from opsdash.services.monitoring.database_reads import DatabaseReads
    from opsdash.services.monitoring.history import History
    from opsdash.services.monitoring.snapshot import SnapshotReader
    from opsdash.services.pause.expiry import PauseExpiry
    from opsdash.services.pause.flags import PauseFlags
    from opsdash.services.pause.holds import Holds
    from opsdash.services.queues.discovery import Discovery
    from opsdash.services.queues.find_task import TaskFinder
    from opsdash.services.queues.read import Queues
    from opsdash.services.queues.search_tasks import TaskSearch
    from opsdash.services.queues.trash import Trash
    from opsdash.services.tenants.sync import Tenants
    from opsdash.services.workers.pools import Pools
    from opsdash.services.workers.rate_limits import RateLimits
    from opsdash.services.workers.remote_control import Remote
    from opsdash.services.workers.reports import Workers
    from opsdash.services.workers.task_holders import TaskHolders
    from opsdash.services.workers.unmanaged import UnmanagedWorkers
    from opsdash.services.workflows.look import WorkflowReader


class Services:
    """One deployment, as its operations see it. Each part is imported and made when it is first used.

    Args:
        operations: Those that may be run, by name.
        evidence: Reads what an operation has left behind, for an entry without an outcome.
        carry_out: Runs a pending approval, with its own audit entry; only ``approve`` calls it.
        queue_names: Every queue that is known now.

    Attributes:
        broker: Redis and the names of its keys. For anything without a service use ``broker.client``.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        operations: Mapping[str, type[Any]],
        evidence: Callable[[AuditEntry], Mapping[str, Any]],
        carry_out: Callable[[str, Act], Effect],
        queue_names: Callable[[], tuple[str, ...]],
    ) -> None:
        self.settings, self.broker = settings, broker
        self.carry_out, self.queue_names = carry_out, queue_names
        self._operations, self._evidence = operations, evidence

    def snapshot(self) -> Snapshot:
        """One consistent read of everything; never raises for an outage."""
        return self.snapshots.take()

    @Once
    def engine(self) -> sa.Engine:
        """The database."""
        from opsdash.services.database import engine

        return engine.connect(self.settings.database_url, create=False)

    @Once
    def signer(self) -> ChainSigner:
        """Signs the audit log, and what opsdash leaves in Redis for itself."""
        from opsdash.services.audit.chain import ChainSigner

        return ChainSigner(self.settings.secret, tuple(key.encode() for key in self.settings.old_secret_keys))

    @Once
    def outbox(self) -> Outbox | None:
        """Where audit entries go while the database does not answer; None with ``OPSDASH_AUDIT=strict``."""
        from opsdash.services.audit.outbox import Outbox

        return None if self.settings.audit == "strict" else Outbox(self.broker)

    @Once
    def audit(self) -> AuditLog:
        """The audit log."""
        from opsdash.services.audit.log import AuditLog

        return AuditLog(self.engine, self.signer, outbox=self.outbox, here=lambda: self.broker.identity)

    @Once
    def approvals(self) -> Approvals:
        """What waits for a second person."""
        from opsdash.services.audit.approvals import Approvals

        return Approvals(
            self.broker,
            self.signer,
            find_audit=lambda: self.audit,
            ttl_s=self.settings.approval_ttl_s,
            operations=self._operations,
        )

    @Once
    def reaper(self) -> Reaper:
        """Closes entries whose process died."""
        from opsdash.services.audit.reaper import Reaper

        return Reaper(broker=self.broker, audit=self.audit, approvals=self.approvals, evidence=self._evidence)

    @Once
    def pause(self) -> PauseFlags:
        """The flags that workers obey."""
        from opsdash.services.pause.flags import PauseFlags

        return PauseFlags(self.broker)

    @Once
    def queues(self) -> Queues:
        """Reads and clears queues."""
        from opsdash.services.queues.read import Queues

        return Queues(self.broker)

    @Once
    def trash(self) -> Trash:
        """What was cleared and can be restored."""
        from opsdash.services.queues.trash import Trash

        return Trash(self.broker)

    @Once
    def workers(self) -> Workers:
        """Workers that report."""
        from opsdash.services.workers.reports import Workers

        return Workers(self.broker, redact=self.settings.redact)

    @Once
    def unmanaged(self) -> UnmanagedWorkers:
        """Workers that are not managed by opsdash."""
        from opsdash.services.workers.unmanaged import UnmanagedWorkers

        return UnmanagedWorkers(self.broker, self.settings)

    @Once
    def remote(self) -> Remote:
        """Single workers and tasks, by Celery's remote control."""
        from opsdash.services.workers.remote_control import Remote

        return Remote(self.broker, self.unmanaged)

    @Once
    def tenants(self) -> Tenants:
        """The tenants' database and their keys in Redis."""
        from opsdash.services.tenants.source import source
        from opsdash.services.tenants.sync import Tenants

        where = source(self.settings, self.engine)
        return Tenants(source=where, broker=self.broker, secret=self.settings.secret)

    @Once
    def history(self) -> History:
        """Figures of the last days."""
        from opsdash.services.monitoring.history import History

        return History(self.broker)

    @Once
    def failed(self) -> FailedTasks:
        """Failed tasks, as workers have kept them."""
        from opsdash.services.failures.reading import FailedTasks

        return FailedTasks(self.broker, self.settings.task_url)

    @Once
    def discovery(self) -> Discovery:
        """Which queues there are."""
        from opsdash.services.queues.discovery import Discovery

        return Discovery(self.broker)

    @Once
    def holders(self) -> TaskHolders:
        """Which workers have a task."""
        from opsdash.services.workers.task_holders import TaskHolders

        return TaskHolders(self.remote, redact=self.settings.redact)

    @Once
    def finder(self) -> TaskFinder:
        """Where a task is, by its id."""
        from opsdash.services.queues.find_task import TaskFinder
        from opsdash.services.queues.results import Results

        places = (self.holders, self.trash, Results(self.settings), self.queue_names)
        return TaskFinder(self.broker, *places, self.settings.redact, self.failed.find)

    @Once
    def tasks(self) -> TaskSearch:
        """Tasks that wait or run, by name, arguments and text."""
        from opsdash.services.queues.search_tasks import TaskSearch

        return TaskSearch(self.broker, self.holders, self.queue_names, self.settings.redact, self.failed.search)

    @Once
    def workflows(self) -> WorkflowReader:
        """The tasks that a task belongs to."""
        from opsdash.services.workflows.look import WorkflowReader

        places = (self.holders, self.trash, self.failed.store, self.queue_names)
        return WorkflowReader(self.broker, *places, self.settings.redact)

    @Once
    def snapshots(self) -> SnapshotReader:
        """Reads all of it, and remembers the last good half of each side."""
        from opsdash.services.monitoring.pace import Paces
        from opsdash.services.monitoring.snapshot import SnapshotReader

        return SnapshotReader(
            broker=self.broker,
            pause=self.pause,
            queues=self.queues,
            workers=self.workers,
            unmanaged=self.unmanaged,
            signer=self.signer,
            outbox=self.outbox,
            trash=self.trash,
            approvals=self.approvals,
            discovery=self.discovery,
            paces=Paces(self.history, self.settings.objectives),
            find_audit=lambda: self.audit,
            database=self._database_reads,
            brief=self._brief_reads,
        )

    def _database_reads(self, expiry: PauseExpiry) -> DatabaseReads:
        from opsdash.services.monitoring.database_reads import DatabaseReads
        from opsdash.services.pause.hold_expiry import HoldExpiry
        from opsdash.services.pause.schedule_expiry import ScheduleExpiry

        return DatabaseReads(
            audit=self.audit,
            tenants=self.tenants,
            approvals=self.approvals,
            reaper=self.reaper,
            expiry=expiry,
            ended=(HoldExpiry(self.audit, self.broker), ScheduleExpiry(self.audit, self.broker)),
        )

    def _brief_reads(self) -> BriefReads:
        from opsdash.services.monitoring.brief_reads import BriefReads

        return BriefReads(self.settings, self.broker)

    @property
    def pools(self) -> Pools:
        """What workers answer of their pools, and commands to one worker or to all."""
        from opsdash.services.workers.pools import Pools

        return Pools(self.remote)

    @property
    def holds(self) -> Holds:
        """Tasks that workers set aside as they come."""
        from opsdash.services.pause.holds import Holds

        return Holds(self.broker)

    @property
    def rate_limits(self) -> RateLimits:
        """Rate limits for all workers together."""
        from opsdash.services.workers.rate_limits import RateLimits

        return RateLimits(self.broker)
