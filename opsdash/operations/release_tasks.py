"""Release: a hold ends, and its tasks are next to run, in the order in which they came."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Effect, Figure, HeldTasks, Hold, Line, Preview, Progress
from opsdash.model.hold import LONGEST_NAME, Kind
from opsdash.operation import Act, Operation, argument
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.text import choices, count, in_words

if TYPE_CHECKING:
    from opsdash.services.services import Services


class ReleaseTasks(Operation):
    """Ends a hold of tasks by their name; what it holds goes back in front of its queues."""

    name: ClassVar[str] = "release_tasks"
    title: ClassVar[str] = "Release Tasks"
    help: ClassVar[str] = "End a hold: its tasks are the next to run, in their order."
    warning: ClassVar[str] = "Workers start all tasks that this hold has set aside."

    task: str = argument(
        default="",
        positional=True,
        help="Name of the held task, as it was held.",
        label="Name of the task",
        longest=LONGEST_NAME,
    )
    queue: str | None = argument(default=None, help="The queue that was named when they were held.")

    def heading(self) -> str:
        """Which tasks."""
        if not self.task:
            return self.title
        return f"Release tasks {self.task}" + (f" of queue {self.queue}" if self.queue else "")

    def preview(self, services: Services) -> Preview:
        """How many tasks will run, of which queues."""
        return preview(services, found(services, "task", self.task, self.queue or ""))

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The names that are held."""
        return {"task": tuple(hold.name for hold in services.holds.read().holds if hold.kind == "task")[:8]}

    def execute(self, services: Services, act: Act) -> Effect:
        """Puts its tasks back in steps, then ends it."""
        return release(services, act, found(services, "task", self.task, self.queue or ""))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it is still there."""
        return left(services, "task", self.task, self.queue or "")


def found(services: Services, kind: Kind, name: str, queue: str = "") -> Hold:
    """The hold that is meant.

    Raises:
        Refused: There is none.
    """
    hold = services.holds.find(kind, name, queue)
    if hold is not None:
        return hold
    held = [str(one) for one in services.holds.read().holds if one.kind == kind]
    hint = f"Held: {choices(held, f'{kind} {name}')}." if held else "Nothing of that kind is held."
    where = f" of queue {queue}" if queue else ""
    raise Refused(f"There is no hold of {kind} {name!r}{where}.", hint=hint, field=kind)


def tasks_of(hold: Hold) -> str:
    """``Tasks shop.charge of queue emails``, ``Tasks of tenant acme``."""
    return f"Tasks {str(hold).removeprefix('task ')}" if hold.kind == "task" else f"Tasks of {hold}"


def held_by(services: Services, hold: Hold) -> HeldTasks:
    """What it holds."""
    look = services.holds.look()
    return next((one for one in look.holds if one.hold.id == hold.id), HeldTasks(hold=hold))


def preview(services: Services, hold: Hold) -> Preview:
    """Of a release."""
    held = held_by(services, hold)
    pauses = services.pause.read(held.by_queue)
    lines = [Line("will", f"{count(held.held, 'held task')} will be the next to run, in their order.")]
    if len(held.by_queue) > 1:
        lines.append(
            Line("note", "By queue: " + ", ".join(f"{n:,} of {name}" for name, n in held.by_queue.items()) + ".")
        )
    if stay := [queue for queue in held.by_queue if None in pauses or queue in pauses]:
        lines.append(Line("will_not", f"Paused, so nothing of it runs before the resume: {', '.join(stay[:5])}."))
    if held.oldest_at is not None:
        age_s = (datetime.now(UTC) - held.oldest_at).total_seconds()
        lines.append(Line("note", f"The oldest has been held for {in_words(age_s)}."))
    if hold.releasing:
        lines.append(Line("note", "It is being released already: this goes on with it."))
    return Preview(
        button=f"Release {count(held.held, 'task')}",
        lines=tuple(lines),
        figures=(Figure(name="held", label="held", value=held.held, unit="tasks"),),
    )


def release(services: Services, act: Act, hold: Hold) -> Effect:
    """Does it."""

    def on_progress(at: int, of: int) -> None:
        act.on_progress(Progress(done=False, message=f"{at:,} of {of:,} back in their queues", at=min(at, of), of=of))

    done = HeldTasksMover(services.broker).release(hold, by=act.actor.name, on_progress=on_progress)
    next_ones = f"{count(done.total, 'task')} {'is' if done.total == 1 else 'are'} next to run"
    message = f"{tasks_of(hold)} are released: {next_ones if done.total else 'none was held'}."
    if not done.ended:
        message += " More were held meanwhile; they are released by themselves."
    return Effect(
        affected=done.total,
        message=message,
        details={"hold": hold.id, "by_queue": dict(done.by_queue), "ended": done.ended},
        undo=again(hold),
    )


def left(services: Services, kind: Kind, name: str, queue: str = "") -> Mapping[str, Any]:
    """Evidence of a release."""
    hold = services.holds.find(kind, name, queue)
    if hold is None:
        return {"message": "The hold is over."}
    held = held_by(services, hold)
    state = "is being released" if hold.releasing else "is in force"
    return {"message": f"The hold {state}; {count(held.held, 'task')} held.", "held": held.held}


def again(hold: Hold) -> Operation:
    """Holds the same again, for the time that it had left."""
    from opsdash.operations.hold_tasks import HoldTasks  # each undoes the other

    left_s = None
    if hold.expires_at is not None:
        left_s = max(1, round((hold.expires_at - datetime.now(UTC)).total_seconds()))
    if hold.kind == "tenant":
        from opsdash.operations.hold_tenant import HoldTenant

        return HoldTenant(
            tenant=hold.name, duration_s=left_s, without_end=left_s is None, reason=hold.reason[:LONGEST_NAME]
        )
    return HoldTasks(
        task=hold.name,
        queue=hold.queue or None,
        duration_s=left_s,
        without_end=left_s is None,
        reason=hold.reason[:LONGEST_NAME],
    )
