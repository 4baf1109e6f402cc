"""Delete for good: cleared messages can't be restored afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, TrashEntry
from opsdash.model.queue import FAILED_TASKS, WORKFLOW
from opsdash.operation import Act, Operation, argument
from opsdash.services.failures.discard import Discarded
from opsdash.services.queues.trash import time_left
from opsdash.services.queues.workflow_trash import WorkflowTrash
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class DeleteTrash(Operation):
    """Deletes what one clear has kept."""

    name: ClassVar[str] = "delete_trash"
    title: ClassVar[str] = "Delete Trash"
    help: ClassVar[str] = "Delete cleared tasks permanently, before their undo window ends."
    warning: ClassVar[str] = "These tasks can't be restored afterwards."
    danger: ClassVar[bool] = True
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    trash_id: str = argument(default="", positional=True, help="The trash id of the clear; opsdash trash lists them.")

    def heading(self) -> str:
        """Which clear: its queue is not known before Redis was asked."""
        return f"Delete trash {self.trash_id}".rstrip()

    def recorded_heading(self, details: Mapping[str, Any]) -> str:
        """Of which queue, where the operation came so far that it is known."""
        return f"Delete trash of queue {details['queue']}" if isinstance(details.get("queue"), str) else self.heading()

    def preview(self, services: Services) -> Preview:
        """What is lost."""
        entry = services.trash.find(self.trash_id)
        deleted = f"{_what(entry)} by {entry.by or 'unknown'} will be deleted."
        left = (
            Line("note", f"They can be restored for another {time_left(entry)}.")
            if entry.state == "kept"
            else Line("warning", f"An operation on them has started ({entry.state}) and must be completed first.")
        )
        figures = (
            Figure(name="count", label="cleared tasks", value=entry.count, unit="tasks"),
            Figure(name="queue", value=entry.queue),
            Figure(name="size_bytes", value=entry.size_bytes, unit="bytes", exactness="estimated"),
        )
        title = f"Delete trash of {entry.source}"
        button = f"Delete {count(entry.count, 'task')}"
        return Preview(title=title, button=button, lines=(Line("will", deleted), left), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """One step; Redis frees the memory in the background."""
        if (kind := services.trash.kind(self.trash_id)) == FAILED_TASKS:
            entry = Discarded(services.broker).delete(self.trash_id)
        elif kind == WORKFLOW:
            entry = WorkflowTrash(services.broker).delete(self.trash_id)
        else:
            entry = services.trash.delete(self.trash_id, by=act.actor.name)
        return Effect(
            affected=entry.count,
            message=f"Deleted {_what(entry)} for good.",
            details={**({"queue": entry.queue} if entry.queue else {}), "trash_id": entry.id},
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether that trash is there."""
        try:
            kept = services.trash.find(self.trash_id)
        except Refused as gone:
            return {"message": gone.message}
        return {"message": f"It was not deleted: {count(kept.count, 'task')} are in the trash.", "count": kept.count}


def _what(entry: TrashEntry) -> str:
    """``3 tasks cleared from emails``."""
    if entry.kind == FAILED_TASKS:
        return f"{count(entry.count, 'failed task')} discarded"
    if entry.kind == WORKFLOW:
        return f"{count(entry.count, 'cancelled task')} of workflow {entry.root}"
    return f"{count(entry.count, 'task')} cleared from {entry.queue}"
