"""What one call reads: the snapshot, the verdict, and single figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opsdash.config.settings import Settings
from opsdash.model import AuditEntry, FoundTask, Progress, RateLimit, Snapshot, WorkerStats, Workflow
from opsdash.services.broker.client import Broker
from opsdash.services.once import Once
from opsdash.services.services import Services

if TYPE_CHECKING:  # few processes need all of these: each is imported when it is asked for
    import sqlalchemy as sa

    from opsdash.model.verdict import Verdict
    from opsdash.services.audit.approvals import Approvals
    from opsdash.services.audit.log import AuditLog
    from opsdash.services.audit.reaper import Reaper
    from opsdash.services.failures.reading import FailedTasks
    from opsdash.services.monitoring.history import History
    from opsdash.services.pause.flags import PauseFlags
    from opsdash.services.pause.holds import Holds
    from opsdash.services.peers.peers import Peers
    from opsdash.services.queues.discovery import Discovery
    from opsdash.services.queues.find_task import TaskFinder
    from opsdash.services.queues.read import Queues
    from opsdash.services.queues.search_tasks import TaskSearch
    from opsdash.services.queues.trash import Trash
    from opsdash.services.tenants.sync import Tenants
    from opsdash.services.tenants.tasks import TenantLook
    from opsdash.services.workers.reports import Workers
    from opsdash.services.workers.schedules import Schedules
    from opsdash.services.workers.unmanaged import UnmanagedWorkers
    from opsdash.services.workflows.look import WorkflowReader


class Reads:
    """The half of `Console` that changes nothing. Its settings and services are set by the console."""

    settings: Settings
    broker: Broker
    services: Services

    @Once
    def engine(self) -> sa.Engine:
        """The database."""
        return self.services.engine

    @Once
    def audit(self) -> AuditLog:
        """The audit log."""
        return self.services.audit

    @Once
    def pending_approvals(self) -> Approvals:
        """What waits for a second person."""
        return self.services.approvals

    @Once
    def reaper(self) -> Reaper:
        """Closes entries whose process died."""
        return self.services.reaper

    @Once
    def discovery(self) -> Discovery:
        """Which queues there are."""
        return self.services.discovery

    @Once
    def failed(self) -> FailedTasks:
        """Failed tasks, as workers have kept them."""
        return self.services.failed

    @Once
    def finder(self) -> TaskFinder:
        """Where a task is, by its id."""
        return self.services.finder

    @Once
    def tasks(self) -> TaskSearch:
        """Tasks that wait or run, by name, arguments and text."""
        return self.services.tasks

    @Once
    def unmanaged(self) -> UnmanagedWorkers:
        """Workers that are not managed by opsdash."""
        return self.services.unmanaged

    @Once
    def pause(self) -> PauseFlags:
        """The flags that workers obey."""
        return self.services.pause

    @Once
    def queues(self) -> Queues:
        """Reads and clears queues."""
        return self.services.queues

    @Once
    def trash(self) -> Trash:
        """What was cleared and can be restored."""
        return self.services.trash

    @Once
    def history(self) -> History:
        """Figures of the last days."""
        return self.services.history

    @Once
    def tenants(self) -> Tenants:
        """The tenants' database and their keys in Redis."""
        return self.services.tenants

    @Once
    def workers(self) -> Workers:
        """Workers that report."""
        return self.services.workers

    @Once
    def workflows(self) -> WorkflowReader:
        """The tasks that a task belongs to."""
        return self.services.workflows

    @property
    def schedules(self) -> Schedules:
        """The entries of beat's schedule, where beat reports them."""
        from opsdash.services.workers.schedules import Schedules

        return Schedules(self.broker)

    @property
    def holds(self) -> Holds:
        """Tasks that workers set aside as they come: ``look()`` tells of them, read now."""
        from opsdash.services.pause.holds import Holds

        return Holds(self.broker)

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """One consistent read of everything. Never raises for an outage: a stale half carries its age and error.

        Args:
            brief: For a program that reads one and ends: it imports less.
        """
        return self.services.snapshots.take(brief=brief)

    @Once
    def peers(self) -> Peers:
        """The other deployments of ``OPSDASH_PEERS``: ``ops.peers.read(wait_s=5)``."""
        from opsdash.services.peers.peers import Peers

        return Peers(self.settings.peers)

    @Once
    def tenant_tasks(self) -> TenantLook:
        """How many tasks each tenant has: ``ops.tenant_tasks.read()``."""
        from opsdash.services.tenants.tasks import TenantLook

        names = (self.queue_names, self.settings.tenant_key)
        return TenantLook(self.broker, self.workers, self.failed.store, *names)

    def verdict(self, queue: str | None = None) -> Verdict | None:
        """What is known of the pause of everything, or of one queue, looked at now; None when there is none."""
        from opsdash.services.pause.verdict import verdict

        self.unmanaged.look()
        return verdict(self.snapshot(), queue)

    def queue_names(self) -> tuple[str, ...]:
        """Known queues: the configured ones, the app's, those that workers consume, and those that are bound."""
        return self.discovery.names(self.workers.read(), self.unmanaged.last)

    def is_processing_paused(self) -> bool:
        """Whether everything is paused, read now."""
        return None in self.pause.read(())

    def get_queue_length(self, queue: str = "celery") -> int:
        """Tasks that wait in one queue, all priorities, read now."""
        return self.queues.read([queue])[0].waiting

    def get_worker_stats(self) -> tuple[WorkerStats, ...]:
        """Every worker that reported within the last day, offline ones included, read now."""
        return self.workers.read()

    def get_active_workers(self) -> tuple[str, ...]:
        """Hostnames of the workers that report, read now."""
        return tuple(worker.hostname for worker in self.workers.read() if worker.reports)

    def rate_limits(self) -> tuple[RateLimit, ...]:
        """Rate limits for all workers together, by task, with what each worker makes of them; read now."""
        return self.services.rate_limits.read()

    def find_task(self, task_id: str, on_progress: Callable[[Progress], None] = lambda _progress: None) -> FoundTask:
        """Where a task is: it waits, a worker has it, it was cleared, failed or finished, or it is not found.

        Args:
            task_id: Its id, or eight characters or more of the beginning: then several may be found.
            on_progress: Called with how much of what waits was looked at.

        Raises:
            Invalid: It is no id. Unavailable: Redis did not answer.
        """
        return self.finder.find(task_id, on_progress)

    def workflow(self, task_id: str, on_progress: Callable[[Progress], None] = lambda _progress: None) -> Workflow:
        """The tasks that a task belongs to, as a tree: as far as what waits, runs, failed or was cleared tells.

        Args:
            task_id: The id of any of its tasks, or of a group.
            on_progress: Called with how much was looked at.

        Raises:
            Invalid: It is no id. Unavailable: Redis did not answer.
        """
        return self.workflows.read(task_id, on_progress)

    def get_recent_operations(self, limit: int = 20, broker: str = "") -> tuple[AuditEntry, ...]:
        """The newest audit entries, newest first, read now.

        Args:
            broker: Only those of one broker, such as ``redis-a:6379/0``, or of this console's: ``this``. Empty: of all
                that share the database.
        """
        return self.audit.recent(limit, broker)
