"""Hold a tenant: its tasks are set aside as they come, whatever their names, while all others run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Progress, Snapshot
from opsdash.model.hold import LONGEST_NAME, Hold, hold_id
from opsdash.model.preview import Exactness
from opsdash.operation import Act, Operation, argument
from opsdash.operations.ends_after import endless, ends_after
from opsdash.operations.hold_tasks import about_workers, applied, begin, check_duration, duration, worker_figures
from opsdash.operations.release_tenant import ReleaseTenant
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.tenant_filter import TenantFilter
from opsdash.text import chosen_time

if TYPE_CHECKING:
    from opsdash.services.services import Services


class HoldTenant(Operation):
    """Has the workers set a tenant's tasks aside, until someone releases them or the hold expires."""

    name: ClassVar[str] = "hold_tenant"
    title: ClassVar[str] = "Hold Tenant"
    help: ClassVar[str] = "Set the tasks of one tenant aside as they come; all others run."
    warning: ClassVar[str] = "Workers do not run this tenant's tasks until someone releases them or the hold expires."
    settles: ClassVar[bool] = True

    tenant: str = argument(
        default="",
        positional=True,
        help="The tenant's id, as its tasks carry it in OPSDASH_TENANT_KEY.",
        label="The tenant's id",
        placeholder="For example acme",
        longest=LONGEST_NAME,
    )
    duration_s: int | None = ends_after({"15 min": "15m", "1 h": "1h", "4 h": "4h"})
    without_end: bool = endless("someone releases them", "I release them")

    def heading(self) -> str:
        """Which tenant."""
        return f"Hold tenant {self.tenant}" if self.tenant else self.title

    def preview(self, services: Services) -> Preview:
        """How many tasks of the tenant wait, which workers hold them, who does not, and when it ends."""
        self._check(services)
        ttl_s, key = duration(self, services), services.settings.tenant_key
        matching = sample_tasks(services.broker, services.queue_names(), TenantFilter(self.tenant, key))
        hold = Hold(id=hold_id("tenant", self.tenant), kind="tenant", name=self.tenant)
        workers, others = services.workers.read(), services.unmanaged.known()
        exactness: Exactness = "exact" if matching.counted else "estimated"
        about = (
            f"{matching.number:,}" if matching.counted else f"About {matching.number:,} (± {matching.number_error:,})"
        )
        waiting = f"{about} of the tasks that wait now {'is' if about == '1' else 'are'} of this tenant"
        if not matching.counted:
            waiting += f", estimated from {matching.looked_at:,} of them"
        lines = [
            Line("will", f"{waiting}: each is set aside when a worker receives it, in order."),
            *(Line("note", text) for text in matching.sentences()),
            *about_workers(hold, workers, others),
            Line("note", f"A task is of a tenant by its header {key}, else by its keyword argument {key}."),
            Line("warning", "It has no end: it stays until someone releases it.")
            if ttl_s is None
            else Line("will", f"It ends by itself after {chosen_time(ttl_s)}, and the tasks run then."),
        ]
        before = services.holds.find("tenant", self.tenant)
        if before is not None:
            lines.append(Line("warning", f"It is held already, by {before.by or 'a user'}. This replaces the end."))
        return Preview(
            title=f"Change the hold of tenant {self.tenant}" if before is not None else "",
            lines=tuple(lines),
            figures=(
                Figure(
                    name="matching",
                    label="match now",
                    value=matching.number,
                    unit="tasks",
                    exactness=exactness,
                    error=matching.number_error,
                ),
                *worker_figures(hold, workers, others),
                Figure(name="ttl_s", value=ttl_s, unit="s"),
            ),
            choices=("without_end",),
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """Writes the hold and nudges the workers."""
        self._check(services)
        return begin(
            services,
            act,
            "tenant",
            self.tenant,
            "",
            key=services.settings.tenant_key,
            reason=self.reason,
            ttl_s=duration(self, services),
            undo=ReleaseTenant(tenant=self.tenant),
        )

    def progress(self, snapshot: Snapshot) -> Progress:
        """Which workers apply it, and how many tasks are held."""
        return applied(snapshot, hold_id("tenant", self.tenant))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether there is such a hold."""
        found = services.holds.find("tenant", self.tenant)
        return {"message": "There is no such hold now." if found is None else "The hold is in force."}

    def _check(self, services: Services) -> None:
        if not self.tenant.strip():
            raise Invalid("expected a tenant's id", field="tenant")
        if self.tenant.strip() == "*":
            raise Invalid("expected one tenant's id; to stop every task: opsdash pause-processing", field="tenant")
        check_duration(self, services)
