"""Retry: failed tasks go back to their queues, each exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Refused
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Progress
from opsdash.operation import Act, Operation, argument
from opsdash.operations.chosen_failures import ChosenFailures
from opsdash.services.failures import retry_preview
from opsdash.services.failures.message_edit import Change
from opsdash.services.failures.retry import Retry
from opsdash.services.failures.retry_result import effect, evidence
from opsdash.services.failures.selection import Meant, RetryPlan, plan, read_at, redis_now, some_ids
from opsdash.services.failures.store import FailureStore
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class RetryFailed(ChosenFailures, Operation):
    """Moves the messages of failed tasks to their queues, in steps, at a chosen pace."""

    name: ClassVar[str] = "retry_failed"
    title: ClassVar[str] = "Retry Failed Tasks"
    help: ClassVar[str] = "Send failed tasks to their queues again, by ids, group or filter."
    warning: ClassVar[str] = "The tasks run again. What they did before they failed is not undone."

    per_s: float | None = argument(
        default=None,
        option="--rate",
        parse=retry_preview.parse_rate,
        help="How many at most: 10/s, 90/m or 600/h. Without it all at once.",
        label="Pace",
        placeholder="For example 10/s; empty: all at once",
        suggestions={"10/s": "10/s", "1/s": "1/s"},
    )
    keep_retries: bool = argument(default=False, help="Keep the number of retries.", label="Keep the number of retries")
    keep_times: bool = argument(default=False, help="Keep ETA and expiry.", label="Keep ETA and expiry")
    new_id: bool = argument(default=False, help="Give each task a new id.", label="Give each task a new id")
    include_chords: bool = argument(
        default=False, help="Send members of chords too.", label="Send members of chords too"
    )
    include_waiting: bool = argument(
        default=False,
        help="Send tasks too that are on the way again already: they may run twice.",
        label="Send tasks too that are on the way again already",
    )

    def heading(self) -> str:
        """Which tasks."""
        return self._heading("Retry")

    def preview(self, services: Services) -> Preview:
        """How many go where, what is reset in them, what is left out and why, and what was looked at."""
        meant = self._meant()
        now = redis_now(services.broker)
        chosen = self._plan(services, meant, now)
        number = len(chosen.going)
        self._check_pace(number)
        pauses = services.pause.read(sorted({one.queue for one in chosen.going}))
        others = services.unmanaged.known()
        where = "its queue" if number == 1 else "their queues"
        will = f"{count(number, 'failed task')} {meant.text} will be sent to {where}."
        lines = [Line("will", will)]
        if number:
            queues = ", ".join(f"{part.value:,} to {part.name}" for part in retry_preview.by_queue(chosen).first(5))
            lines.append(Line("note", f"{queues}. For example {some_ids(chosen.going)}."))
            lines += retry_preview.changes(chosen, self._change(), new_ids=self.new_id)
            lines += retry_preview.queues(chosen, pauses, services.workers.read(), others)
            lines.append(retry_preview.pace(number, self.per_s))
        lines += [*retry_preview.left_out(chosen), Line("note", chosen.looked.text)]
        figures = [
            Figure(name="going", label="will be sent", value=number, unit="tasks"),
            *(
                Figure(name=f"left_out_{why}", value=len(failures), unit="tasks")
                for why, failures in chosen.left_out.items()
            ),
            Figure(name="with_retries", value=sum(1 for one in chosen.going if one.retries), unit="tasks"),
            Figure(name="with_eta", value=sum(1 for one in chosen.going if one.eta), unit="tasks"),
            Figure(name="with_expiry", value=sum(1 for one in chosen.going if one.expires), unit="tasks"),
            Figure(name="sample", value=tuple(one.id for one in chosen.going[:10])),
        ]
        return Preview(
            title=self._title("Retry", chosen.going),
            button=f"Retry {count(number, 'task')}",
            lines=tuple(lines),
            figures=tuple(figures),
            breakdowns=(retry_preview.by_task(chosen), retry_preview.by_queue(chosen)),
            choices=tuple(name for name, matters in self._matters(chosen).items() if matters),
            boundary={"read_at": now},
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """In steps; cancelled, it ends with the step it is at, and the rest is kept as failed."""
        at = read_at(services.broker, act.reviewed.boundary if act.reviewed else None)
        chosen = self._plan(services, self._meant(), at)
        self._check_pace(len(chosen.going))

        def on_progress(done: int, of: int) -> None:
            act.on_progress(Progress(done=False, message=f"{done:,} of {of:,} sent", at=done, of=of))

        sent = Retry(services.broker).send(
            chosen,
            self._change(),
            audit_id=str(act.audit_id),
            new_ids=self.new_id,
            per_s=self.per_s,
            on_progress=on_progress,
            cancelled=act.cancelled,
        )
        return effect(chosen, sent)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What Redis has counted of this act."""
        return evidence(services.broker, entry)

    def _plan(self, services: Services, meant: Meant, at: float) -> RetryPlan:
        return plan(
            services.broker,
            meant,
            meant.read(FailureStore(services.broker), at),
            known=services.queue_names(),
            workers=services.workers.read(),
            chords=self.include_chords,
            waiting=self.include_waiting,
        )

    def _change(self) -> Change:
        return Change(retries=not self.keep_retries, times=not self.keep_times)

    def _check_pace(self, number: int) -> None:
        if self.per_s is None:
            return
        if not 0 < self.per_s <= 1e6:
            raise Invalid(f"expected a rate above 0, got {self.per_s:g}.", field="per_s")
        if number / self.per_s > retry_preview.LONGEST_S:
            raise Refused(f"{count(number, 'task')} at that pace take more than a day.", field="per_s")

    def _matters(self, chosen: RetryPlan) -> dict[str, bool]:
        return {
            "keep_retries": self.keep_retries or any(one.retries for one in chosen.going),
            "keep_times": self.keep_times or any(one.eta or one.expires for one in chosen.going),
            "new_id": True,
            "include_chords": self.include_chords or "chord" in chosen.left_out,
            "include_waiting": self.include_waiting or "waiting" in chosen.left_out,
        }
