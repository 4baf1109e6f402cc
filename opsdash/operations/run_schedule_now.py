"""Run one entry of beat's schedule now, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Unavailable
from opsdash.model import AuditEntry, Effect, Line, Preview, times
from opsdash.model.schedule import Schedule
from opsdash.operation import Act, Operation, argument
from opsdash.services.workers.schedules import NO_BEAT, Schedules

if TYPE_CHECKING:
    from opsdash.services.services import Services


class RunScheduleNow(Operation):
    """Beat sends its task, with the entry's own arguments and options; its times stay as they were."""

    name: ClassVar[str] = "run_schedule_now"
    title: ClassVar[str] = "Run Schedule Now"
    help: ClassVar[str] = "Have beat send the task of one entry now, once."
    warning: ClassVar[str] = "The task is sent once more than the schedule says, also while the entry is paused."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    schedule: str = argument(
        default="", positional=True, help="The entry, as opsdash schedules names it.", label="Entry", longest=200
    )

    def heading(self) -> str:
        """Which entry."""
        return f"Run schedule {self.schedule} now" if self.schedule else self.title

    def preview(self, services: Services) -> Preview:
        """What is sent, and when it last was."""
        entry = self._reported(services)
        last = f" It was sent last at {times.clock(entry.last_run_at)}." if entry.last_run_at else ""
        due = f", {times.clock(entry.next_run_at)}" if entry.next_run_at else ""
        lines = [Line("will", f"{entry.task} is sent once now.{last}"), Line("will_not", f"Its next run{due}, stays.")]
        if entry.pause is not None:
            lines.append(Line("warning", "It is paused, and stays so; this one run is sent nevertheless."))
        return Preview(lines=tuple(lines))

    def execute(self, services: Services, act: Act) -> Effect:
        """Asks beat, and waits for the task's id."""
        entry = self._reported(services)
        task_id = Schedules(services.broker).run_now(self.schedule)
        message = f"Sent {entry.task} of schedule {self.schedule}: task {task_id}."
        return Effect(affected=1, message=message, details={"task_id": task_id, "task": entry.task})

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Nothing tells whether beat got as far."""
        return {"message": f"Beat may have sent the task of {self.schedule} or not; its worker's log says it."}

    def _reported(self, services: Services) -> Schedule:
        if not self.schedule:
            raise Invalid("name an entry.", field="schedule")
        entry = Schedules(services.broker).get(self.schedule)
        if entry.silent:
            raise Unavailable(f"The beat that has {self.schedule} does not report now.", hint=NO_BEAT)
        return entry
