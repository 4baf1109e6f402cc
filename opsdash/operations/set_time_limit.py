"""Time limit: how long one kind of task may run, in the workers that run now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.operations import chosen_workers
from opsdash.services.workers import time_limits
from opsdash.services.workers.pools import ALL
from opsdash.text import parse_duration

if TYPE_CHECKING:
    from opsdash.services.services import Services


class SetTimeLimit(Operation):
    """Tells workers with the plug-in. A task that is sent with its own limits keeps those."""

    name: ClassVar[str] = "set_time_limit"
    title: ClassVar[str] = "Set Time Limit"
    help: ClassVar[str] = "Limit how long tasks of one name may run, in the workers that run now."
    warning: ClassVar[str] = "At the soft limit the task gets an exception; at the hard one its process is killed."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    task: str = argument(
        default="",
        positional=True,
        help="The task's full name.",
        label="Name of the task",
        placeholder="For example shop.charge",
    )
    soft_s: int | None = argument(
        default=None,
        option="--soft",
        parse=parse_duration,
        help="E.g. 30s. Without it: none.",
        label="Soft limit",
        placeholder="For example 30s; empty: none",
    )
    hard_s: int | None = argument(
        default=None,
        option="--hard",
        parse=parse_duration,
        help="E.g. 45s. Without it: none.",
        label="Hard limit",
        placeholder="For example 45s; empty: none",
    )
    remove: bool = argument(default=False, help="Take both limits away.", label="Take both limits away")
    hostname: str = argument(
        default="",
        option="--worker",
        longest=chosen_workers.MOST_NAMES,
        help="In this worker only.",
        label="Worker",
        placeholder="Empty: all workers",
    )

    def heading(self) -> str:
        """Of which task."""
        return f"Set the time limit of {self.task}" if self.task else self.title

    def preview(self, services: Services) -> Preview:
        """Both limits now and then, in each worker, and to which tasks they do not apply."""
        limits, chosen, before, unable = self._read(services)
        will = (f"{host}: {was} → {limits}." for host, was in before.items())
        found = [*chosen_workers.lines("will", will), *chosen_workers.left_out(chosen, unable)]
        if any(pool.kind == "gevent" and pool.hostname in before for pool in chosen.pools):
            found.append(Line("warning", "A pool of gevent has no soft limit."))
        found.append(Line("will_not", "Tasks that run now keep their limits, and so do tasks sent with their own."))
        found.append(Line("will_not", "A worker that starts later does not know of it: set it in the code, too."))
        return Preview(lines=tuple(found), figures=chosen_workers.figures(chosen, unable), choices=("remove",))

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and counts who has confirmed."""
        limits, chosen, before, unable = self._read(services)
        own = {"task_name": self.task, "soft": limits.soft_s, "hard": limits.hard_s}
        answers = services.remote.tell("opsdash_time_limit", dict.fromkeys(before, own))
        done = dict.fromkeys(answers.confirmed, f"{self.task} has the limits {limits}")
        was = chosen_workers.same(before[host] for host in done)
        again = None if was is None else was.arguments()
        undo = None if again is None else SetTimeLimit(task=self.task, hostname=" ".join(done), **again)
        return chosen_workers.effect(answers, chosen, unable, done, details={"before": before}, undo=undo)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The limits now."""
        _, _, now, _ = self._read(services)
        return {"message": "Limits now: " + "; ".join(f"{host} {limits}" for host, limits in now.items())}

    def _read(self, services: Services) -> tuple[Any, ...]:
        if not self.task:
            raise Invalid("name a task.", field="task")
        limits = time_limits.checked(self.soft_s, self.hard_s, remove=self.remove)
        chosen = services.pools.choose(self.hostname or ALL)
        before, unable = time_limits.read(services.remote, chosen.pools, self.task)
        chosen_workers.able(chosen, unable)
        return limits, chosen, before, unable
