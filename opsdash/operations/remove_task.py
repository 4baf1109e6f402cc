"""Remove: one waiting or held task, named by its id, goes to the trash; its undo puts it back to its own place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Effect, Figure, FoundTask, Line, Preview, TaskPlace
from opsdash.operation import Act, Operation, argument, command_line
from opsdash.operations.clear_queue import in_trash, undo
from opsdash.operations.restore_queue import PLACE, RestoreQueue
from opsdash.operations.retry_failed import RetryFailed
from opsdash.operations.revoke_task import RevokeTask
from opsdash.services.queues.find_task import checked_id
from opsdash.services.queues.found_text import looked_at_line, missing, where
from opsdash.services.queues.receipt import receipt_details
from opsdash.services.queues.remove_task import remove, remove_held
from opsdash.services.queues.trash import span
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class RemoveTask(Operation):
    """Takes one message out of its queue."""

    name: ClassVar[str] = "remove_task"
    title: ClassVar[str] = "Remove Task"
    help: ClassVar[str] = "Remove one pending or held task, by its id."
    warning: ClassVar[str] = "This task is taken out of its queue, or of what a hold holds, and will not run."
    danger: ClassVar[bool] = True

    task_id: str = argument(
        default="", positional=True, help="The task's whole id; opsdash find-task finds it.", label="Task"
    )

    def heading(self) -> str:
        """Which task."""
        return f"Remove task {self.task_id}".rstrip()

    def preview(self, services: Services) -> Preview:
        """Where it waits, what it is, what waits for it, and what the undo promises."""
        found, place = self._find(services)
        keep_s = services.settings.undo_window_s
        lines = [
            Line("will", f"{place.name or 'The task'} is taken out: it is {where(place)}."),
            *(Line("note", f"Arguments: {place.arguments}.") for _ in [0] if place.arguments),
            *(Line("warning", text) for text in _workflow(place)),
        ]
        also = [other for other in found.places if other is not place]
        lines += (Line("will_not", f"It is also {where(other)}: that is left alone.") for other in also)
        if keep_s:
            again = " While the hold lasts it is held again, at its place." if place.hold else ""
            lines.append(Line("note", f"Undo for {span(keep_s)}.{again} {PLACE}"))
        else:
            lines.append(Line("warning", "It is deleted: no undo window is set."))
        lines.append(Line("note", f"Looked at: {looked_at_line(found)}."))
        figures = (
            Figure(name="position", label="its place", value=place.position),
            Figure(name="waiting", label="waiting", value=place.waiting, unit="tasks"),
            Figure(name="queue", value=place.queue),
            Figure(name="task", value=place.name),
            Figure(name="priority", value=place.priority),
            Figure(name="places", value=len(found.places)),
        )
        return Preview(lines=tuple(lines), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """In one step, or in several deep in a long list; where a worker has taken it by then, nothing is changed."""
        _, place = self._find(services)
        keep_s = services.settings.undo_window_s
        given: dict[str, Any] = {"by": act.actor.name, "keep_s": keep_s, "trash_id": act.audit_id.hex}
        if place.hold:
            done = remove_held(services.broker, place.queue, self.task_id, **given)
        else:
            others = services.queue_names()
            done = remove(services.broker, place.queue, self.task_id, others=others, **given)
        details = {
            "queue": done.queue,
            "task": place.name,
            "position": done.position,
            "priority": done.priority,
            "trash_id": done.trash_id,
            **({"hold": place.hold} if place.hold else {}),
            **receipt_details(done.receipt),
        }
        at = f", place {done.position:,} of {done.waiting:,}" if done.waiting else ""
        return Effect(
            affected=1,
            message=f"Removed {self.task_id} from {'what is held of ' if place.hold else ''}{done.queue}{at}.",
            details=details,
            **undo(done.trash_id, keep_s),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act."""
        return in_trash(services, entry)

    def _find(self, services: Services) -> tuple[FoundTask, TaskPlace]:
        """Where it waits or is held.

        Raises:
            Refused: It does not; with where it is, and what can be done there.
        """
        found = services.finder.find(checked_id(self.task_id), whole=True)
        waits = [place for place in found.places if place.state == "waiting" or place.hold]
        if waits:
            services.queues.check_lists(waits[0].queue)
            services.queues.check_restores(waits[0].queue)
            return found, waits[0]
        if found.places:
            instead = act_on(found.places[0])
            hint = "" if instead is None else f"Instead: {command_line(instead)}"
            raise Refused(f"Task {self.task_id} is {where(found.places[0])}.", hint=hint, field="task_id")
        why = missing(found.looked_at)
        unsure = f" Not everything could be looked at: {why}." if why else ""
        raise Refused(f"There is no task {self.task_id} in any known queue.{unsure}", field="task_id")


def _workflow(place: TaskPlace) -> list[str]:
    """What does not run either."""
    lines = []
    if place.chord:
        lines.append("It is part of a chord: the chord's body will not run.")
    elif place.group:
        lines.append("It is part of a group: who waits for the whole group waits in vain.")
    if place.chain:
        lines.append("It is part of a chain: the tasks behind it will not run.")
    if place.retries:
        lines.append(f"It has been retried {count(place.retries, 'time')}.")
    return lines


def act_on(place: TaskPlace) -> Operation | None:
    """The operation that fits a task where it is, on every surface; None: nothing can be done with it there."""
    if place.state == "waiting" or place.hold:
        return RemoveTask(task_id=place.id)
    if place.state in {"reserved", "scheduled"}:
        return RevokeTask(task_id=place.id)
    if place.state == "active":
        return RevokeTask(task_id=place.id, terminate=True)
    if place.state == "cleared" and place.trash_id:
        return RestoreQueue(trash_id=place.trash_id)
    if place.state == "failed" and place.sendable:
        return RetryFailed(ids=place.id)
    return None
