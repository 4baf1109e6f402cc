"""Clear held tasks: what a hold has set aside goes to the trash; the hold goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Breakdown, Effect, Figure, Line, Part, Preview
from opsdash.model.hold import LONGEST_NAME, Hold
from opsdash.operation import Act, Operation, argument
from opsdash.operations.clear_queue import in_trash, undo
from opsdash.operations.release_tasks import found, held_by
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.text import chosen_time, count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class ClearHeld(Operation):
    """Moves what a hold has set aside to the trash, with undo."""

    name: ClassVar[str] = "clear_held"
    title: ClassVar[str] = "Clear Held Tasks"
    help: ClassVar[str] = "Remove the tasks that a hold has set aside; the hold goes on."
    warning: ClassVar[str] = "Every task that this hold has set aside is removed and will not run."
    danger: ClassVar[bool] = True

    task: str = argument(
        default="",
        positional=True,
        help="Name of the held task, as it was held.",
        label="Name of the task",
        longest=LONGEST_NAME,
    )
    queue: str | None = argument(default=None, help="The queue that was named when they were held.")
    tenant: str = argument(
        default="", help="In place of a task's name: the held tenant.", label="Or of this tenant", longest=LONGEST_NAME
    )

    def heading(self) -> str:
        """Which tasks."""
        if self.tenant:
            return f"Clear held tasks of tenant {self.tenant}"
        return f"Clear held tasks {self.task}" if self.task else self.title

    def preview(self, services: Services) -> Preview:
        """How many, of which queues."""
        held = held_by(services, self._hold(services))
        keep_s = services.settings.undo_window_s
        keeps = f"They can be restored for {chosen_time(keep_s)}." if keep_s else "They can't be restored."
        return Preview(
            button=f"Clear {count(held.held, 'task')}",
            lines=(
                Line("will", f"{count(held.held, 'held task')} will be removed."),
                Line("note", f"{keeps} The hold goes on: tasks that come are held."),
            ),
            figures=(Figure(name="held", label="held", value=held.held, unit="tasks"),),
            breakdowns=(
                Breakdown(
                    name="by_queue",
                    unit="tasks",
                    parts=tuple(Part(name=queue, value=number) for queue, number in held.by_queue.items()),
                ),
            ),
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """A queue at a time, each in one step."""
        keep_s = services.settings.undo_window_s
        hold = self._hold(services)
        cleared = HeldTasksMover(services.broker).clear(hold, by=act.actor.name, keep_s=keep_s, act=act.audit_id.hex)
        total = cleared.total
        message = f"Cleared {count(total, 'held task')} of {hold}." if total else f"Nothing of {hold} is held."
        kept = [trash_id for trash_id, _ in cleared.by_queue.values()] if keep_s else []
        if len(kept) > 1:
            message += " To restore: " + ", ".join(f"opsdash restore-queue {one}" for one in kept[:5]) + "."
        details = {"by_queue": {queue: number for queue, (_, number) in cleared.by_queue.items()}, "trash_ids": kept}
        return Effect(
            affected=total,
            message=message + cleared.remark,
            details={**details, **({"foreign": cleared.foreign} if cleared.foreign else {})},
            **undo(kept[0] if len(kept) == 1 else None, keep_s),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act."""
        return in_trash(services, entry)

    def _hold(self, services: Services) -> Hold:
        if self.tenant and (self.task or self.queue):
            raise Invalid("expected no task and no queue beside it", field="tenant")
        if self.tenant:
            return found(services, "tenant", self.tenant)
        return found(services, "task", self.task, self.queue or "")
