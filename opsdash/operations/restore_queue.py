"""Restore: cleared messages go back to their queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Progress, Snapshot
from opsdash.operation import Act, Operation, argument
from opsdash.services.queues.trash import time_left
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class RestoreQueue(Operation):
    """Undoes a clear: order and priority are kept, and what has come since runs afterwards."""

    name: ClassVar[str] = "restore_queue"
    title: ClassVar[str] = "Restore Queue"
    help: ClassVar[str] = "Put cleared tasks back into their queue."
    warning: ClassVar[str] = "The restored tasks run next, before everything that waits in this queue now."

    trash_id: str = argument(default="", positional=True, help="Which clear to undo; opsdash trash lists them.")

    def preview(self, services: Services) -> Preview:
        """What comes back, where to, and what runs after it."""
        entry = services.trash.find(self.trash_id)
        (stats,) = services.queues.read([entry.queue])
        back = (
            f"{count(entry.count, 'task')} of queue {entry.queue} will come back, cleared by {entry.by or 'somebody'}"
            + (f" at {entry.at:%Y-%m-%d %H:%M:%S} UTC." if entry.at else ".")
        )
        after = f"{count(stats.waiting, 'task')} waiting there now will run after those of the same priority."
        moved = services.trash.elsewhere(self.trash_id).items()
        steps = [
            f"Those of priority {old} go to {new}: the app's priority_steps have changed since." for old, new in moved
        ]
        left = (
            f"Time left for this undo: {time_left(entry)}."
            if entry.state == "kept"
            else "It was begun and not finished: this goes on where it stopped."
        )
        lines = (
            Line("will", back),
            Line("will", after),
            *(Line("warning", text) for text in steps),
            Line("note", left),
        )
        figures = (
            Figure(name="count", label="cleared tasks", value=entry.count, unit="tasks"),
            Figure(name="waiting", label="waiting", value=stats.waiting, unit="tasks"),
            Figure(name="queue", value=entry.queue),
            Figure(name="state", value=entry.state),
        )
        return Preview(title=f"Restore queue {entry.queue}", lines=lines, figures=figures)

    def still_possible(self, snapshot: Snapshot) -> bool:
        """The tasks are in the trash."""
        return any(entry.id == self.trash_id and entry.state == "kept" for entry in snapshot.trash)

    def execute(self, services: Services, act: Act) -> Effect:
        """Moves in small steps. It is not cancelled half-way: newer tasks would be out of the queue meanwhile."""
        most = 0

        def told(left: int) -> None:
            nonlocal most
            most = max(most, left)
            act.on_progress(
                Progress(done=False, message=f"{left:,} newer tasks to move behind", at=most - left, of=most)
            )

        entry, restored, _receipt = services.trash.restore(self.trash_id, by=act.actor.name, told=told)
        message = (
            f"Restored {count(restored, 'task')} to {entry.queue}."
            if restored
            else f"The {count(entry.count, 'task')} had been restored to {entry.queue} already; nothing changed."
        )
        return Effect(affected=restored, message=message, details={"queue": entry.queue, "trash_id": entry.id})

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether that trash is there, begun with, or back in its queue."""
        try:
            kept = services.trash.find(self.trash_id)
        except Refused as gone:
            return {"message": gone.message}
        if kept.state == "kept":
            return {"message": f"Nothing came back: {count(kept.count, 'task')} lie in the trash.", "count": kept.count}
        return {"message": "It was begun: run it again, it goes on where it stopped.", "count": kept.count}
