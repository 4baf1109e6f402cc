"""Restore: cleared messages go back to their queue, discarded failures to the failed tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Breakdown, Effect, Figure, Line, Part, Preview, Progress, Snapshot, TrashEntry
from opsdash.model.queue import FAILED_TASKS, WORKFLOW
from opsdash.operation import Act, Operation, argument
from opsdash.services.failures.discard import Discarded
from opsdash.services.queues.old_places import NEIGHBOURS
from opsdash.services.queues.receipt import receipt_details
from opsdash.services.queues.trash import time_left
from opsdash.services.queues.workflow_trash import WorkflowTrash
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services

PLACE = (
    f"A task's place is next to the nearest of {NEIGHBOURS} tasks on either side that still waits; where none does, the"
    " task runs next."
)
WHERE = {
    "behind": "it runs right before the newer task that waited next to it",
    "before": "it runs right after the older task that waited next to it",
    "alone": "nothing else waits there",
    "held": "the hold that held it holds it again, at its place",
    "next": "it runs next, since none of the tasks around it waits any more",
}
"""Where a removed task went back to."""


class RestoreQueue(Operation):
    """Undoes a clear: order and priority are kept, and what has come since runs afterwards. Or undoes a discard."""

    name: ClassVar[str] = "restore_queue"
    title: ClassVar[str] = "Restore Queue"
    help: ClassVar[str] = "Put cleared tasks back into their queue, or discarded ones back to the failed tasks."
    warning: ClassVar[str] = "The restored tasks go to the front of their priority: they run before what waits there."

    trash_id: str = argument(default="", positional=True, help="Which clear to undo; opsdash trash lists them.")

    def heading(self) -> str:
        """Which clear: its queue is not known before Redis was asked."""
        return f"Restore trash {self.trash_id}".rstrip()

    def recorded_heading(self, details: Mapping[str, Any]) -> str:
        """Of which queue or task, where the operation came so far that it is known."""
        if details.get("kind") == FAILED_TASKS:
            return "Restore failed tasks"
        if isinstance(details.get("task_id"), str):
            return f"Put back task {details['task_id']}"
        if isinstance(details.get("root"), str):
            return f"Restore workflow {details['root']}"
        return f"Restore queue {details['queue']}" if isinstance(details.get("queue"), str) else self.heading()

    def preview(self, services: Services) -> Preview:
        """What comes back, where to, and what runs after it."""
        entry = services.trash.find(self.trash_id)
        if entry.kind == FAILED_TASKS:
            return _failed_preview(entry)
        if entry.kind == WORKFLOW:
            return _preview_of_workflow(entry, WorkflowTrash(services.broker).by_queue(entry.id))
        if entry.task_id:
            return _preview_of_task(entry)
        (stats,) = services.queues.read([entry.queue])
        left_of = " left" if entry.state == "restoring" else ""
        back = (
            f"{count(entry.count, 'task')}{left_of} of queue {entry.queue} will be"
            f" restored, cleared by {entry.by or 'unknown'}"
            + (f" at {entry.at:%Y-%m-%d %H:%M:%S} UTC." if entry.at else ".")
        )
        waits, restored = stats.by_priority, services.trash.by_priority(self.trash_id)
        fronts = [
            f"{number:,} go to the front of priority {step}: {_waiting(n for at, n in waits.items() if at < step)} will"
            f" run before, {_waiting(n for at, n in waits.items() if at >= step)} after."
            for step, number in restored.items()
        ]
        first = min(restored, default=0)  # of priorities, the smallest number is worked off first
        before = sum(n for at, n in waits.items() if at < first)
        moved = services.trash.elsewhere(self.trash_id).items()
        steps = [
            f"Those of priority {old} get priority {new}: the app's priority_steps have changed since."
            for old, new in moved
        ]
        left = (
            f"The undo ends in {time_left(entry)}."
            if entry.state == "kept"
            else f"It was interrupted: this continues where it stopped.{_aside(entry)}"
        )
        lines = (
            Line("will", back),
            *(Line("will", text) for text in fronts),
            *(Line("warning", text) for text in steps),
            Line("note", left),
        )
        figures = (
            Figure(name="count", label="cleared tasks", value=entry.count, unit="tasks"),
            Figure(name="set_aside", value=entry.set_aside, unit="tasks"),
            Figure(name="waiting", label="waiting", value=stats.waiting, unit="tasks"),
            Figure(name="run_before", label="waiting, run before", value=before, unit="tasks"),
            Figure(name="run_after", label="waiting, run after", value=stats.waiting - before, unit="tasks"),
            Figure(name="queue", value=entry.queue),
            Figure(name="state", value=entry.state),
        )
        priorities = Breakdown(
            name="by_priority",
            unit="tasks",
            parts=tuple(Part(name=str(step), value=number) for step, number in restored.items()),
        )
        title = f"Restore queue {entry.queue}"
        return Preview(title=title, lines=lines, figures=figures, breakdowns=(priorities,))

    def still_possible(self, snapshot: Snapshot) -> bool:
        """The tasks are in the trash."""
        return any(entry.id == self.trash_id and entry.state == "kept" for entry in snapshot.trash)

    def execute(self, services: Services, act: Act) -> Effect:
        """Moves in small steps. It is not cancelled half-way: newer tasks would be out of the queue meanwhile."""
        if (kind := services.trash.kind(self.trash_id)) == FAILED_TASKS:
            return self._restore_failed(services, act)
        if kind == WORKFLOW:
            return self._restore_workflow(services, act)
        most = 0

        def on_progress(left: int) -> None:
            nonlocal most
            most = max(most, left)
            act.on_progress(
                Progress(done=False, message=f"{left:,} newer tasks to move behind", at=most - left, of=most)
            )

        done = services.trash.restore(
            self.trash_id, by=act.actor.name, others=services.queue_names(), on_progress=on_progress
        )
        entry = done.entry
        again = " This finished a restore that was interrupted." if entry.state == "restoring" else ""
        if entry.task_id and done.tasks:
            message = f"Put {entry.task_id} back into {entry.queue}: {WHERE[done.where]}."
        elif done.receipt is not None or done.tasks:
            message = f"Restored {count(done.tasks, 'task')} to {entry.queue}.{again}"
        else:
            message = f"The {count(entry.count, 'task')} had already been restored to {entry.queue}; nothing changed."
        details = {"queue": entry.queue, "trash_id": entry.id, **receipt_details(done.receipt)}
        if entry.task_id:
            details |= {"task_id": entry.task_id, "placed": done.where}
        return Effect(affected=done.tasks, message=message, details=details)

    def _restore_failed(self, services: Services, act: Act) -> Effect:
        def on_progress(left: int) -> None:
            act.on_progress(Progress(done=False, message=f"{left:,} left"))

        entry, done = Discarded(services.broker).restore(self.trash_id, by=act.actor.name, on_progress=on_progress)
        message = f"Restored {count(done.restored, 'failed task')}."
        if done.newer:
            message += f" {done.newer:,} had failed again meanwhile: the newer failures stay."
        if done.gone:
            message += f" {done.gone:,} were gone: deleted outside opsdash."
        details = {"trash_id": entry.id, "kind": entry.kind, "failed_again": done.newer, "gone": done.gone}
        return Effect(affected=done.restored, message=message, details=details)

    def _restore_workflow(self, services: Services, act: Act) -> Effect:
        def on_progress(left: int) -> None:
            act.on_progress(Progress(done=False, message=f"{left:,} left"))

        entry, done = WorkflowTrash(services.broker).restore(self.trash_id, by=act.actor.name, on_progress=on_progress)
        message = f"Restored {count(done.tasks, 'task')} of workflow {entry.root}."
        if next_ones := done.tasks - done.own_place:
            message += f" {count(next_ones, 'task')} run next, since none of the tasks around them waits any more."
        details = {"trash_id": entry.id, "root": entry.root, "queues": dict(done.queues), "own_place": done.own_place}
        return Effect(affected=done.tasks, message=message, details=details)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether that trash is there, begun with, or back in its queue."""
        try:
            kept = services.trash.find(self.trash_id)
        except Refused as gone:
            return {"message": gone.message}
        if kept.state == "kept":
            return {"message": f"Nothing was restored. The trash has {count(kept.count, 'task')}.", "count": kept.count}
        left = f"{count(kept.count, 'task')} {'is' if kept.count == 1 else 'are'} left to restore."
        return {"message": f"It was interrupted, {left}{_aside(kept)} Run it again.", "count": kept.count}


def _failed_preview(entry: TrashEntry) -> Preview:
    """Of discarded failures."""
    back = f"{count(entry.count, 'failed task')} will be restored, discarded by {entry.by or 'unknown'}."
    stays = "A task that has failed again since is there already: the newer failure stays."
    return Preview(
        title="Restore failed tasks",
        warning="They are listed as failed again. No task runs by this.",
        button=f"Restore {count(entry.count, 'failed task')}",
        lines=(
            Line("will", back),
            Line("will_not", stays),
            Line("note", f"The undo ends in {time_left(entry)}."),
        ),
        figures=(Figure(name="count", label="failed tasks", value=entry.count, unit="tasks"),),
    )


def _preview_of_task(entry: TrashEntry) -> Preview:
    """Of one task that was removed alone."""
    cleared = f", removed by {entry.by or 'unknown'}" + (f" at {entry.at:%Y-%m-%d %H:%M:%S} UTC" if entry.at else "")
    lines = (
        Line("will", f"Task {entry.task_id} goes back to its place in queue {entry.queue}{cleared}."),
        Line("note", PLACE),
        Line("note", f"The undo ends in {time_left(entry)}."),
    )
    figures = (
        Figure(name="count", label="removed task", value=entry.count, unit="tasks"),
        Figure(name="queue", value=entry.queue),
        Figure(name="task_id", value=entry.task_id),
        Figure(name="state", value=entry.state),
    )
    warning = "It runs when a worker takes it: where it waited before, other tasks may have gone on."
    title = f"Put back task {entry.task_id}"
    return Preview(title=title, warning=warning, button="Put the task back", lines=lines, figures=figures)


def _preview_of_workflow(entry: TrashEntry, queues: Mapping[str, int]) -> Preview:
    """Of the waiting tasks of a cancelled workflow."""
    where = ", ".join(f"{number:,} to {queue}" for queue, number in list(queues.items())[:5])
    back = f"{count(entry.count, 'task')} go back to their places: {where}. Removed by {entry.by or 'unknown'}."
    lines = (
        Line("will", back),
        Line("note", PLACE),
        Line("will_not", "What was revoked with them stays revoked."),
        Line("note", f"The undo ends in {time_left(entry)}."),
    )
    figures = (
        Figure(name="count", label="removed tasks", value=entry.count, unit="tasks"),
        Figure(name="root", value=entry.root),
        Figure(name="state", value=entry.state),
    )
    warning = "They run when workers take them: where they waited before, other tasks may have gone on."
    return Preview(
        title=f"Restore workflow {entry.root}",
        warning=warning,
        button=f"Restore {count(entry.count, 'task')}",
        lines=lines,
        figures=figures,
    )


def _aside(entry: TrashEntry) -> str:
    """Newer tasks that an interrupted restore has taken out of the queue."""
    if not entry.set_aside:
        return ""
    are = "is" if entry.set_aside == 1 else "are"
    return f" {count(entry.set_aside, 'newer task')} {are} set aside until it is finished."


def _waiting(numbers: Iterable[int]) -> str:
    return f"{sum(numbers):,} waiting"
