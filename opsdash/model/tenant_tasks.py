"""The tasks of each tenant: frozen values."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from opsdash.model.hold import TENANT_KEY, Hold
from opsdash.text import count
from opsdash.values import frozen


@frozen(kw_only=True)
class TenantTasks:
    """How many tasks one tenant has.

    Attributes:
        tenant: Its id, as its tasks carry it; empty: tasks that name none.
        waiting: In the queues. ``waiting_error``: by how much that may be off, either way; 0: they were counted.
        running: In workers that say whose tasks they run.
        failed: Kept as failed; ``failed_error`` as above.
        held: Set aside by a hold of the tenant or of a task's name; ``held_error`` as above.
        hold: Its own hold; None: it is not held.
        synced: Its configuration is in Redis; None where no tenant's is.
    """

    tenant: str
    waiting: int = 0
    waiting_error: int = 0
    running: int = 0
    failed: int = 0
    failed_error: int = 0
    held: int = 0
    held_error: int = 0
    hold: Hold | None = None
    synced: bool | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return self.waiting + self.running + self.failed + self.held


@frozen(kw_only=True)
class LookedThrough:
    """How far a number of tasks was looked through for their tenants.

    Attributes:
        tasks: How many there are. ``looked_at``: how many the figures rest on.
    """

    tasks: int = 0
    looked_at: int = 0

    @property
    def sampled(self) -> bool:
        """The figures are estimates."""
        return self.looked_at < self.tasks


@frozen(kw_only=True)
class TenantsRead:
    """One read of the tasks of all tenants.

    Attributes:
        tenants: Those that are held, then those with most tasks. ``left_out``: how many more there are.
        others: Tasks that name no tenant, or can't be read.
        key: Header or keyword argument that names the tenant.
        waiting, failed, held: How far those were looked through.
        running_unknown: Running tasks of workers that don't say whose they are.
        read_at: In UTC; None: not read yet. ``took_s``: how long it took.
    """

    tenants: tuple[TenantTasks, ...] = ()
    left_out: int = 0
    others: TenantTasks = field(default_factory=lambda: TenantTasks(tenant=""))
    key: str = TENANT_KEY
    waiting: LookedThrough = field(default_factory=LookedThrough)
    failed: LookedThrough = field(default_factory=LookedThrough)
    held: LookedThrough = field(default_factory=LookedThrough)
    running_unknown: int = 0
    read_at: datetime | None = None
    took_s: float = 0.0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is to be said of it: what is estimated, what is not known, and what is left out."""
        found = [
            f"~ is estimated from {of.looked_at:,} of {of.tasks:,} {what} tasks."
            for what, of in (("waiting", self.waiting), ("failed", self.failed), ("held", self.held))
            if of.sampled
        ]
        if self.running_unknown:
            whose = "it is" if self.running_unknown == 1 else "they are"
            tasks = count(self.running_unknown, "running task")
            found.append(f"Of {tasks} it is not known whose {whose}: their workers don't say.")
        if self.left_out:
            has = "has" if self.left_out == 1 else "have"
            found.append(f"{count(self.left_out, 'more tenant')} {has} fewer tasks.")
        return tuple(found)


def about(number: int, error: int) -> str:
    """``~1,200`` where it is an estimate, else ``1,200``."""
    return f"~{number:,}" if error else f"{number:,}"
