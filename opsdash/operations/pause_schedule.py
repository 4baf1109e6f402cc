"""Pause one entry of beat's schedule: it comes due, and is not sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, times
from opsdash.operation import Act, Operation, argument
from opsdash.operations.ends_after import ends_after
from opsdash.operations.resume_schedule import ResumeSchedule
from opsdash.services.workers.schedules import Schedules
from opsdash.text import chosen_time

if TYPE_CHECKING:
    from opsdash.services.services import Services

MAX_TTL_S = 365 * 86_400


class PauseSchedule(Operation):
    """Writes down the pause, which beat reads every second; it ends by itself."""

    name: ClassVar[str] = "pause_schedule"
    title: ClassVar[str] = "Pause Schedule"
    help: ClassVar[str] = "Keep one entry of beat's schedule from sending its task."
    warning: ClassVar[str] = "Beat does not send this entry's task until someone resumes it or the pause expires."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    schedule: str = argument(
        default="", positional=True, help="The entry, as opsdash schedules names it.", label="Entry", longest=200
    )
    duration_s: int | None = ends_after({"1 h": "1h", "1 day": "1d", "1 week": "7d"})

    def heading(self) -> str:
        """Which entry."""
        return f"Pause schedule {self.schedule}".rstrip()

    def preview(self, services: Services) -> Preview:
        """When it would come next, and what stays."""
        entry, ttl_s = Schedules(services.broker).get(self._named()), self._ttl_s(services)
        due = f", next at {times.clock(entry.next_run_at)}" if entry.next_run_at else ""
        lines = [
            Line("will", f"{entry.task or self.schedule} is not sent any more ({entry.schedule or 'not known'}{due})."),
            Line("will", f"It ends after {chosen_time(ttl_s)}; what it missed by then is not caught up."),
            Line("will_not", "What was sent already, and what others send, still runs."),
        ]
        if entry.pause is not None:
            lines.append(
                Line("warning", f"It is paused already, by {entry.pause.by or 'nobody known'}; this replaces it.")
            )
        if entry.silent:
            lines.append(Line("warning", "The beat that has it does not report now; the pause counts when it is back."))
        return Preview(lines=tuple(lines), figures=(Figure(name="ttl_s", value=ttl_s, unit="s"),))

    def execute(self, services: Services, act: Act) -> Effect:
        """One write."""
        schedules, ttl_s = Schedules(services.broker), self._ttl_s(services)
        schedules.get(self._named())
        pause = schedules.pause(self.schedule, by=act.actor.name, reason=self.reason, ttl_s=ttl_s)
        until = f" until {times.clock(pause.expires_at)}" if pause.expires_at else ""
        return Effect(
            affected=1,
            message=f"Paused schedule {self.schedule}{until} ({chosen_time(ttl_s)}).",
            details={"expires_at": pause.expires_at},
            undo=ResumeSchedule(schedule=self.schedule),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it is paused now."""
        paused = any(one.name == self.schedule and one.pause for one in Schedules(services.broker).read())
        return {"message": f"{self.schedule} is {'paused' if paused else 'not paused'} now."}

    def _ttl_s(self, services: Services) -> int:
        ttl_s = services.settings.pause_ttl_s if self.duration_s is None else self.duration_s
        if not 1 <= ttl_s <= MAX_TTL_S:
            raise Invalid("expected 1 second to 365 days.", field="duration_s")
        return ttl_s

    def _named(self) -> str:
        if not self.schedule:
            raise Invalid("name an entry.", field="schedule")
        return self.schedule
