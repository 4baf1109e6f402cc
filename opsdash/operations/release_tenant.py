"""Release a tenant: its hold ends, and its tasks are next to run, in the order in which they came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.model import AuditEntry, Effect, Preview
from opsdash.model.hold import LONGEST_NAME
from opsdash.operation import Act, Operation, argument
from opsdash.operations.release_tasks import found, left, preview, release

if TYPE_CHECKING:
    from opsdash.services.services import Services


class ReleaseTenant(Operation):
    """Ends a hold of a tenant; what it holds goes back in front of its queues."""

    name: ClassVar[str] = "release_tenant"
    title: ClassVar[str] = "Release Tenant"
    help: ClassVar[str] = "End the hold of a tenant: its tasks are the next to run, in their order."
    warning: ClassVar[str] = "Workers start all tasks of this tenant that were set aside."

    tenant: str = argument(
        default="", positional=True, help="The held tenant's id.", label="The tenant's id", longest=LONGEST_NAME
    )

    def heading(self) -> str:
        """Which tenant."""
        return f"Release tenant {self.tenant}" if self.tenant else self.title

    def preview(self, services: Services) -> Preview:
        """How many tasks will run, of which queues."""
        return preview(services, found(services, "tenant", self.tenant))

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The tenants that are held."""
        return {"tenant": tuple(hold.name for hold in services.holds.read().holds if hold.kind == "tenant")[:8]}

    def execute(self, services: Services, act: Act) -> Effect:
        """Puts its tasks back in steps, then ends it."""
        return release(services, act, found(services, "tenant", self.tenant))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it is still there."""
        return left(services, "tenant", self.tenant)
