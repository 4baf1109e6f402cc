"""What an operation may use: everything it reads and writes by, and nothing of the console that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsdash.config.settings import Settings
from opsdash.model import Act, Effect, Snapshot
from opsdash.services.audit.approvals import Approvals
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker.client import Broker
from opsdash.services.monitoring.history import History
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.find_task import TaskFinder
from opsdash.services.queues.read import Queues
from opsdash.services.queues.trash import Trash
from opsdash.services.tenants.sync import Tenants
from opsdash.services.workers.pools import Pools
from opsdash.services.workers.rate_limits import RateLimits
from opsdash.services.workers.remote_control import Remote
from opsdash.services.workers.reports import Workers
from opsdash.services.workers.unmanaged import UnmanagedWorkers
from opsdash.services.workflows.look import WorkflowReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One deployment, as its operations see it.

    Attributes:
        broker: Redis and the names of its keys. For anything without a service use ``broker.client``.
        unmanaged: Workers that are not managed by opsdash. ``workers``: those that report.
        remote: Single workers and tasks, by Celery's remote control.
        finder: Where a task is, by its id. ``workflows``: what it belongs to.
        approvals: What waits for a second person.
        queue_names: Every queue that is known now.
        snapshot: One consistent read of everything; never raises for an outage.
        carry_out: Runs a pending approval, with its own audit entry; only ``approve``
            calls it.
    """

    settings: Settings
    broker: Broker
    queues: Queues
    trash: Trash
    pause: PauseFlags
    workers: Workers
    unmanaged: UnmanagedWorkers
    remote: Remote
    finder: TaskFinder
    workflows: WorkflowReader
    tenants: Tenants
    history: History
    audit: AuditLog
    approvals: Approvals
    queue_names: Callable[[], tuple[str, ...]]
    snapshot: Callable[[], Snapshot]
    carry_out: Callable[[str, Act], Effect]

    @property
    def pools(self) -> Pools:
        """What workers answer of their pools, and commands to one worker or to all."""
        return Pools(self.remote)

    @property
    def holds(self) -> Holds:
        """Tasks that workers set aside as they come."""
        return Holds(self.broker)

    @property
    def rate_limits(self) -> RateLimits:
        """Rate limits for all workers together."""
        return RateLimits(self.broker)
