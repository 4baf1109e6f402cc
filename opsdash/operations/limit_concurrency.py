"""Concurrency limit: so many tasks of a name run at once, in all workers together; the others wait their turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, HeldTasks, Line, Preview, Progress, Snapshot
from opsdash.model.hold import LONGEST_NAME, MOST_AT_ONCE, Hold, hold_id
from opsdash.operation import Act, Operation, argument
from opsdash.operations import chosen_workers
from opsdash.operations.ends_after import ends_after
from opsdash.operations.remove_concurrency_limit import RemoveConcurrencyLimit, again
from opsdash.services.pause.holds import applies, can_not, free
from opsdash.services.queues.known_tasks import names_of_waiting, unknown_task
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.workers.rate_limits import LONGEST_S
from opsdash.text import chosen_time, count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class LimitConcurrency(Operation):
    """Keeps the limit in Redis, with an end; workers with the plug-in lease its slots, and set aside what has none."""

    name: ClassVar[str] = "limit_concurrency"
    title: ClassVar[str] = "Limit Concurrency"
    help: ClassVar[str] = "Limit how many tasks of a name run at once, in all workers together and in those to come."
    warning: ClassVar[str] = "Tasks over the limit are set aside until one of their name has ended."
    settles: ClassVar[bool] = True

    task: str = argument(
        default="",
        positional=True,
        longest=LONGEST_NAME,
        help="Name of the task; * matches any text: all that match share the limit.",
        label="Name of the task",
        placeholder="For example shop.charge or shop.*",
    )
    most: int | None = argument(
        default=None,
        positional=True,
        parse=chosen_workers.whole_number,
        help=f"How many run at once, from 1 to {MOST_AT_ONCE:,}.",
        label="Running at once",
        placeholder="For example 2",
    )
    duration_s: int | None = ends_after({"15 min": "15m", "1 h": "1h", "4 h": "4h"})

    def heading(self) -> str:
        """Of which tasks, to how many."""
        return f"Limit {self.task} to {self.most:,} at once" if self.task and self.most else self.title

    def preview(self, services: Services) -> Preview:
        """How many run now, who keeps to the limit and who does not, and when it ends."""
        most, ttl_s = self._checked(services)
        hold = Hold(id=hold_id("limit", self.task), kind="limit", name=self.task, most=most)
        workers, others = services.workers.read(), services.unmanaged.known()
        able = [worker for worker in workers if applies(worker, hold) and worker not in can_not(workers, hold)]
        without = unlimited(services, hold)
        lines = [Line("will", f"{at_most(most, self.task)}, in all workers together.")]
        if (before := services.holds.find("limit", self.task)) is not None:
            lines.append(Line("will", f"It replaces {before.most:,}, set by {before.by or 'an unknown user'}."))
        lines.append(Line("will", f"It ends after {chosen_time(ttl_s)}, and holds for workers that start until then."))
        lines.append(Line("note", "What runs now goes on, and counts: none starts until fewer run."))
        lines.append(Line("note", "Others wait in Redis, in their order, and take no place of a worker."))
        if not able:
            lines.append(
                Line("warning", "No worker keeps to it now: none with this version of the plug-in is connected.")
            )
        if before is None:
            waiting = sample_tasks(services.broker, services.queue_names(), TaskFilter(task=self.task))
            lines += unknown_task(services.remote, self.task, waiting)
        if without:
            lines.append(
                Line("warning", f"Without a limit, since they can't keep to one: {chosen_workers.shown(without)}.")
            )
        if others is None:
            lines.append(Line("warning", "Unmanaged workers could not be asked."))
        lines.append(Line("will_not", "Tasks of other names are not limited, and do not wait behind these."))
        figures = (
            Figure(name="most", label="at once", value=most, unit="tasks"),
            Figure(name="workers", label="keep to it", value=len(able), unit="workers"),
            Figure(name="unlimited", label="without a limit", value=len(without), unit="workers"),
            Figure(name="ttl_s", value=ttl_s, unit="s"),
        )
        return Preview(lines=tuple(lines), figures=figures)

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The names of the tasks that wait most often."""
        return {"task": names_of_waiting(services.broker, services.queue_names())}

    def execute(self, services: Services, act: Act) -> Effect:
        """Keeps it, and has workers read it."""
        most, ttl_s = self._checked(services)
        before = services.holds.find("limit", self.task)
        hold = services.holds.set("limit", self.task, most=most, by=act.actor.name, reason=self.reason, ttl_s=ttl_s)
        message = f"{at_most(most, self.task)} for {chosen_time(ttl_s)}."
        if before is not None:
            message += f" Replaced {before.most:,} by {before.by or 'an unknown user'}."
        without = unlimited(services, hold)
        message += f" Without a limit: {chosen_workers.shown(without)}." if without else ""
        details = {"hold": hold.id, "expires_at": hold.expires_at, "unlimited": without}
        undo = again(before) if before is not None else RemoveConcurrencyLimit(task=self.task)
        return Effect(affected=1, message=message, details=details, undo=undo)

    def progress(self, snapshot: Snapshot) -> Progress:
        """Which workers keep to it."""
        wanted = hold_id("limit", self.task)
        found = next((one for one in snapshot.concurrency_limits if one.hold.id == wanted), None)
        if found is None:
            return Progress(done=False, message="The limit has ended meanwhile.", final=True)
        return Progress(done=found.workers >= found.of, message=describe(found), stage=f"{found.workers}/{found.of}")

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The limit that holds now."""
        found = services.holds.find("limit", self.task)
        now = "none" if found is None else f"{found.most:,} at once, set by {found.by}"
        return {"message": f"The concurrency limit of {self.task} now: {now}."}

    def _checked(self, services: Services) -> tuple[int, int]:
        if not self.task.strip("*?"):
            raise Invalid("expected a task's name; to stop every task: opsdash pause-processing", field="task")
        if self.most is None or not 1 <= self.most <= MOST_AT_ONCE:
            hint = "To let none of them run: opsdash hold-tasks." if self.most == 0 else ""
            raise Invalid(f"expected from 1 to {MOST_AT_ONCE:,}.", hint=hint, field="most")
        ttl_s = services.settings.pause_ttl_s if self.duration_s is None else self.duration_s
        if not 1 <= ttl_s <= LONGEST_S:
            raise Invalid(f"expected from one second to {chosen_time(LONGEST_S)}.", field="duration_s")
        return self.most, ttl_s


def at_most(most: int, task: str) -> str:
    """``At most 3 tasks of shop.charge run at once``."""
    return f"At most {count(most, 'task')} of {task} {'runs' if most == 1 else 'run'} at once"


def unlimited(services: Services, hold: Hold) -> tuple[str, ...]:
    """Workers that can't keep to a limit: an older plug-in, none, or one that Redis refuses it."""
    workers = can_not(services.workers.read(), hold)
    return (*(one.hostname for one in workers), *(one.hostname for one in free(services.unmanaged.known() or (), hold)))


def describe(found: HeldTasks) -> str:
    """How many workers keep to it, how many tasks run and wait."""
    return (
        f"{found.workers} of {count(found.of, 'worker')} keep to it;"
        f" {found.running:,} of {found.hold.most:,} running, {count(found.held, 'task')} waiting."
    )
