"""Rate limit: tasks of one name start no more often than that, in all workers together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.operations.chosen_workers import shown
from opsdash.operations.ends_after import ends_after
from opsdash.operations.remove_rate_limit import RemoveRateLimit
from opsdash.services.queues.known_tasks import names_of_waiting, unknown_task
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.workers.rate_limits import LONGEST_NAME, LONGEST_S, is_none, limit_lines, rate_of, written
from opsdash.text import chosen_time, count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class SetRateLimit(Operation):
    """Keeps the limit in Redis, with an end; each worker with the plug-in follows its share of it.

    A rate of ``none`` or ``0``, as in Celery's own ``rate_limit``, does what `RemoveRateLimit` does.
    """

    name: ClassVar[str] = "set_rate_limit"
    title: ClassVar[str] = "Set Rate Limit"
    help: ClassVar[str] = "Limit how often tasks of one name start, in all workers together and in those to come."
    warning: ClassVar[str] = "Tasks over the limit wait in the workers that fetched them, and use up their prefetch."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    task: str = argument(
        default="",
        positional=True,
        longest=LONGEST_NAME,
        help="The task's full name.",
        label="Name of the task",
        placeholder="For example shop.charge",
    )
    rate: str = argument(
        default="",
        positional=True,
        help="How many in all workers together: 10/s, 90/m or 600/h; none or 0: no limit any more.",
        label="Rate",
        placeholder="For example 10/s",
        suggestions={"10/s": "10/s", "1/s": "1/s", "10/m": "10/m"},
    )
    duration_s: int | None = ends_after({"15 min": "15m", "1 h": "1h"})

    def heading(self) -> str:
        """Of which task, to how many."""
        if self.task and is_none(self.rate):
            return RemoveRateLimit(task=self.task).heading()
        return f"Limit {self.task} to {written(self.rate)}" if self.task and self.rate else self.title

    def preview(self, services: Services) -> Preview:
        """How many start from now on in all and in each worker, who follows no limit, and when it ends."""
        if is_none(self.rate):
            return RemoveRateLimit(task=self.task).preview(services)
        per_s, ttl_s = self._checked(services)
        workers = services.rate_limits.followers(services.unmanaged.known())
        limits = services.rate_limits.read()
        lines = list(limit_lines(self.task, written(self.rate), per_s, workers, limits))
        if all(limit.task != self.task for limit in limits):
            waiting = sample_tasks(services.broker, services.queue_names(), TaskFilter(task=self.task))
            lines += unknown_task(services.remote, self.task, waiting)
        ends = Line("will", f"It ends after {chosen_time(ttl_s)}, and holds for workers that start until then.")
        figures = (
            Figure(name="per_s", value=per_s, unit="tasks/s"),
            Figure(name="workers", label="follow it", value=len(workers.following), unit="workers"),
            Figure(name="unlimited", label="without a limit", value=len(workers.unlimited), unit="workers"),
        )
        return Preview(lines=(*lines, ends), figures=figures)

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The names of the tasks that wait most often."""
        return {"task": names_of_waiting(services.broker, services.queue_names())}

    def execute(self, services: Services, act: Act) -> Effect:
        """Keeps it, and has workers read it."""
        if is_none(self.rate):
            return RemoveRateLimit(task=self.task).execute(services, act)
        per_s, ttl_s = self._checked(services)
        limits = services.rate_limits
        rate = written(self.rate)
        before = limits.set(self.task, rate, per_s, by=act.actor.name, reason=self.reason, ttl_s=ttl_s)
        workers = limits.followers(services.unmanaged.known())
        message = f"{self.task} is limited to {rate} for {chosen_time(ttl_s)}, in"
        message += f" {count(len(workers.following), 'worker')} and those that start."
        message += f" Replaced {before.rate} by {before.by or 'an unknown user'}." if before is not None else ""
        message += f" Without a limit: {shown(workers.unlimited)}." if workers.unlimited else ""
        undo: Operation = RemoveRateLimit(task=self.task)
        if before is not None:
            undo = SetRateLimit(
                task=self.task, rate=before.rate, duration_s=limits.left_s(before), reason=before.reason
            )
        details = {"per_s": per_s, "ttl_s": ttl_s, "unlimited": workers.unlimited}
        return Effect(affected=1, message=message, details=details, undo=undo, followed=bool(workers.following))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The limit that holds now."""
        now = [f"{limit.rate}, set by {limit.by}" for limit in services.rate_limits.read() if limit.task == self.task]
        return {"message": f"The rate limit of {self.task} now: {now[0] if now else 'none'}."}

    def _checked(self, services: Services) -> tuple[float, int]:
        if not self.task:
            raise Invalid("expected a task's full name.", field="task")
        if "*" in self.task:
            hint = "A limit is for one name. To stop many: Hold Tasks."
            raise Invalid("expected a task's full name, without *.", hint=hint, field="task")
        ttl_s = services.settings.pause_ttl_s if self.duration_s is None else self.duration_s
        if not 1 <= ttl_s <= LONGEST_S:
            raise Invalid(f"expected from one second to {chosen_time(LONGEST_S)}.", field="duration_s")
        return rate_of(self.rate), ttl_s
