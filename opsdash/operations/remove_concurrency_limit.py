"""Remove a concurrency limit: what waits for it goes back in front of its queues, and runs as there are slots."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Refused
from opsdash.model import AuditEntry, Effect, Figure, Hold, Line, Preview, Progress
from opsdash.model.hold import LONGEST_NAME
from opsdash.operation import Act, Operation, argument
from opsdash.operations.chosen_workers import shown
from opsdash.operations.release_tasks import held_by, left
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class RemoveConcurrencyLimit(Operation):
    """Ends a limit that ``LimitConcurrency`` has set; what waits for it is the next to run, in its order."""

    name: ClassVar[str] = "remove_concurrency_limit"
    title: ClassVar[str] = "Remove Concurrency Limit"
    help: ClassVar[str] = "End the concurrency limit of a name, before its time."
    warning: ClassVar[str] = "Tasks that waited for the limit start at once, as many as there are slots."

    task: str = argument(
        default="",
        positional=True,
        help="Name of the task, as it was limited.",
        label="Name of the task",
        longest=LONGEST_NAME,
    )

    def heading(self) -> str:
        """Of which tasks."""
        return f"Remove the concurrency limit of {self.task}" if self.task else self.title

    def preview(self, services: Services) -> Preview:
        """What ends, and how many tasks have waited for it."""
        hold = self._found(services)
        held = held_by(services, hold)
        lines = [
            Line("will", f"As many tasks of {hold.name} run at once as there are slots, not {hold.most:,}."),
            Line("will", f"{count(held.held, 'task')} that waited will be the next to run, in their order."),
        ]
        if hold.releasing:
            lines.append(Line("note", "It is being removed already: this goes on with it."))
        return Preview(
            lines=tuple(lines), figures=(Figure(name="held", label="waiting", value=held.held, unit="tasks"),)
        )

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The names that have a limit."""
        return {"task": tuple(hold.name for hold in services.holds.read().holds if hold.kind == "limit")[:8]}

    def execute(self, services: Services, act: Act) -> Effect:
        """Puts what waits back in steps, then ends it."""
        hold = self._found(services)

        def on_progress(at: int, of: int) -> None:
            act.on_progress(
                Progress(done=False, message=f"{at:,} of {of:,} back in their queues", at=min(at, of), of=of)
            )

        done = HeldTasksMover(services.broker).release(hold, by=act.actor.name, on_progress=on_progress)
        message = f"{hold.name} has no concurrency limit; {count(done.total, 'task')} back in front."
        if not done.ended:
            message += " More were set aside meanwhile; they are put back by themselves."
        details = {"hold": hold.id, "most": hold.most, "set_by": hold.by, "by_queue": dict(done.by_queue)}
        return Effect(affected=done.total, message=message, details=details, undo=again(hold))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether there is one now."""
        return left(services, "limit", self.task)

    def _found(self, services: Services) -> Hold:
        if not self.task:
            raise Invalid("expected a task's name.", field="task")
        hold = services.holds.find("limit", self.task)
        if hold is not None:
            return hold
        have = shown(one.name for one in services.holds.read().holds if one.kind == "limit") or "none"
        raise Refused(f"{self.task} has no concurrency limit.", hint=f"Names that have one: {have}.", field="task")


def again(hold: Hold) -> Operation:
    """The same limit, for the time that it had left."""
    from opsdash.operations.limit_concurrency import LimitConcurrency  # each undoes the other

    left_s = None
    if hold.expires_at is not None:
        left_s = max(1, round((hold.expires_at - datetime.now(UTC)).total_seconds()))
    return LimitConcurrency(task=hold.name, most=hold.most, duration_s=left_s, reason=hold.reason[:LONGEST_NAME])
