"""Remove a rate limit: tasks of that name start as often as their code allows again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Refused
from opsdash.model import AuditEntry, Effect, Line, Preview, RateLimit
from opsdash.operation import Act, Operation, argument
from opsdash.operations.chosen_workers import shown

if TYPE_CHECKING:
    from opsdash.services.services import Services


class RemoveRateLimit(Operation):
    """Ends a limit that ``SetRateLimit`` has set; what waits for it starts at once."""

    name: ClassVar[str] = "remove_rate_limit"
    title: ClassVar[str] = "Remove Rate Limit"
    help: ClassVar[str] = "End the rate limit of one task, before its time."
    warning: ClassVar[str] = "Tasks that waited for the limit start at once, as many as there are slots."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    task: str = argument(default="", positional=True, help="The task's full name.", label="Name of the task")

    def heading(self) -> str:
        """Of which task."""
        return f"Remove the rate limit of {self.task}" if self.task else self.title

    def preview(self, services: Services) -> Preview:
        """What ends, and in which workers."""
        limit = self._found(services)
        found = [Line("will", f"{limit.task} may start as often as its code allows, not {limit.rate}.")]
        if limit.shares:
            found.append(Line("note", f"{shown(limit.shares)} follow it now, and read this within 2 s."))
        return Preview(lines=tuple(found))

    def execute(self, services: Services, act: Act) -> Effect:
        """Removes it, and has workers read that."""
        removed = self._found(services)
        services.rate_limits.remove(self.task)
        from opsdash.operations.set_rate_limit import SetRateLimit  # each undoes the other

        left_s = services.rate_limits.left_s(removed)
        undo = SetRateLimit(task=self.task, rate=removed.rate, duration_s=left_s, reason=removed.reason)
        details = {"rate": removed.rate, "set_by": removed.by}
        return Effect(affected=1, message=f"{self.task} has no rate limit.", details=details, undo=undo)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether there is one now."""
        there = any(limit.task == self.task for limit in services.rate_limits.read())
        return {"message": f"{self.task} has {'a' if there else 'no'} rate limit now."}

    def _found(self, services: Services) -> RateLimit:
        if not self.task:
            raise Invalid("expected a task's full name.", field="task")
        limits = services.rate_limits.read()
        for limit in limits:
            if limit.task == self.task:
                return limit
        have = shown(limit.task for limit in limits) or "none"
        raise Refused(f"{self.task} has no rate limit.", hint=f"Tasks that have one: {have}.", field="task")
