"""Resume one entry of beat's schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, OpsdashError, Refused, explained
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, times
from opsdash.model.schedule import Schedule
from opsdash.operation import Act, Operation, argument
from opsdash.services.workers.schedules import Schedules
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class ResumeSchedule(Operation):
    """Takes the pause away; what it missed is not sent, unless asked for: then once."""

    name: ClassVar[str] = "resume_schedule"
    title: ClassVar[str] = "Resume Schedule"
    help: ClassVar[str] = "Let one entry of beat's schedule send its task again."
    warning: ClassVar[str] = "Beat sends this entry's task again when it is due next."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    schedule: str = argument(
        default="", positional=True, help="The entry, as opsdash schedules names it.", label="Entry", longest=200
    )
    catch_up: bool = argument(
        default=False,
        help="If it missed runs, send its task once now.",
        label="Send its task once now for what it missed",
    )

    def heading(self) -> str:
        """Which entry."""
        return f"Resume schedule {self.schedule}".rstrip()

    def preview(self, services: Services) -> Preview:
        """What it missed, and when it comes next."""
        entry = self._paused(services)
        due = f" at {times.clock(entry.next_run_at)}" if entry.next_run_at else ", when it is due"
        lines = [Line("will", f"{entry.task or self.schedule} is sent again, next{due}.")]
        missed = entry.missed or 0
        if missed and self.catch_up:
            lines.append(Line("will", f"It missed {count(missed, 'run')}, and is sent once now for all of them."))
        elif missed:
            lines.append(Line("will_not", f"It missed {count(missed, 'run')}: they are not caught up."))
        figures = (Figure(name="missed", label="missed", value=missed, unit="runs"),)
        return Preview(lines=tuple(lines), figures=figures, choices=("catch_up",) if missed else ())

    def execute(self, services: Services, act: Act) -> Effect:
        """One write; to catch up, beat is asked to send it."""
        schedules, entry = Schedules(services.broker), self._paused(services)
        schedules.resume(self.schedule)
        message, details = f"Resumed schedule {self.schedule}.", {"missed": entry.missed}
        if self.catch_up and entry.missed:
            try:
                details["task_id"] = task_id = schedules.run_now(self.schedule)  # type: ignore[assignment]
                message += f" Sent once for what it missed: task {task_id}."
            except OpsdashError as error:  # it is resumed by now
                return Effect(
                    affected=1, ok=False, message=f"{message} Not caught up: {explained(error)}", details=details
                )
        elif self.catch_up:
            message += " It has missed nothing."
        return Effect(affected=1, message=message, details=details)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it is paused now."""
        paused = any(one.name == self.schedule and one.pause for one in Schedules(services.broker).read())
        return {"message": f"{self.schedule} is {'paused' if paused else 'not paused'} now."}

    def _paused(self, services: Services) -> Schedule:
        if not self.schedule:
            raise Invalid("name an entry.", field="schedule")
        entry = Schedules(services.broker).get(self.schedule)
        if entry.pause is None:
            raise Refused(f"Schedule {self.schedule} is not paused.", field="schedule")
        return entry
