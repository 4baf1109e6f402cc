"""What one call reads: the snapshot, the verdict, and single figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from opsdash.config.settings import Settings
from opsdash.model import AuditEntry, FoundTask, Progress, RateLimit, Snapshot, WorkerStats, Workflow
from opsdash.model.verdict import Verdict
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker.client import Broker
from opsdash.services.failures.reading import FailedTasks
from opsdash.services.monitoring.snapshot import SnapshotReader
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.pause.holds import Holds
from opsdash.services.pause.verdict import verdict
from opsdash.services.queues.discovery import Discovery
from opsdash.services.queues.find_task import TaskFinder
from opsdash.services.queues.read import Queues
from opsdash.services.workers.rate_limits import RateLimits
from opsdash.services.workers.reports import Workers
from opsdash.services.workers.schedules import Schedules
from opsdash.services.workers.unmanaged import UnmanagedWorkers
from opsdash.services.workflows.look import WorkflowReader

if TYPE_CHECKING:  # few processes look at these: imported when they are asked for
    from opsdash.services.peers.peers import Peers
    from opsdash.services.tenants.tasks import TenantLook


class Reads:
    """The half of `Console` that changes nothing. Its services are set by the console."""

    settings: Settings
    audit: AuditLog
    broker: Broker
    discovery: Discovery
    failed: FailedTasks
    finder: TaskFinder
    unmanaged: UnmanagedWorkers
    pause: PauseFlags
    queues: Queues
    workers: Workers
    workflows: WorkflowReader
    _snapshots: SnapshotReader

    @property
    def schedules(self) -> Schedules:
        """The entries of beat's schedule, where beat reports them."""
        return Schedules(self.broker)

    @property
    def holds(self) -> Holds:
        """Tasks that workers set aside as they come: ``look()`` tells of them, read now."""
        return Holds(self.broker)

    def snapshot(self) -> Snapshot:
        """One consistent read of everything. Never raises for an outage: a stale half carries its age and error."""
        return self._snapshots.take()

    @cached_property
    def peers(self) -> Peers:
        """The other deployments of ``OPSDASH_PEERS``: ``ops.peers.read(wait_s=5)``."""
        from opsdash.services.peers.peers import Peers

        return Peers(self.settings.peers)

    @cached_property
    def tenant_tasks(self) -> TenantLook:
        """How many tasks each tenant has: ``ops.tenant_tasks.read()``."""
        from opsdash.services.tenants.tasks import TenantLook

        names = (self.queue_names, self.settings.tenant_key)
        return TenantLook(self.broker, self.workers, self.failed.store, *names)

    def verdict(self, queue: str | None = None) -> Verdict | None:
        """What is known of the pause of everything, or of one queue, looked at now; None when there is none."""
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
        return RateLimits(self.broker).read()

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
