"""Let the workers of a build that was drained take tasks again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Refused, Uncertain
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, WorkerStats
from opsdash.operation import Act, Operation, argument
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class WakeBuild(Operation):
    """Gives them exactly the queues back that were taken from them, by a drain or one by one."""

    name: ClassVar[str] = "wake_build"
    title: ClassVar[str] = "Wake Build"
    help: ClassVar[str] = "Let the quiet workers of one build take tasks again."
    warning: ClassVar[str] = "These workers start the pending tasks of their queues at once, unless they are paused."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    build: str = argument(
        default="",
        positional=True,
        help="The build, as its workers' OPSDASH_BUILD says.",
        label="Build",
        placeholder="For example 1.41",
    )

    def heading(self) -> str:
        """Which build."""
        return f"Wake build {self.build}" if self.build else self.title

    def preview(self, services: Services) -> Preview:
        """Which workers, and what waits for them."""
        hosts = self._hosts(services)
        queues = sorted({queue for names in hosts.values() for queue in names})
        pauses = services.pause.read(queues)
        waiting = sum(queue.waiting for queue in services.queues.read(queues))
        text = f"{count(len(hosts), 'worker')} of build {self.build} take tasks from {', '.join(queues)} again"
        lines = [Line("will", f"{text}; {count(waiting, 'task')} waiting.")]
        if pauses:
            lines.append(Line("will_not", "What is paused stays so: no task of it starts before that ends."))
        return Preview(lines=tuple(lines), figures=(Figure(name="workers", label="workers", value=len(hosts)),))

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and waits for their word."""
        hosts = self._hosts(services)
        confirmed = services.remote.wake_each(hosts)
        done = [host for host, names in hosts.items() if set(confirmed.get(host, ())) >= set(names)]
        if not done:
            raise Uncertain(f"No worker of build {self.build} has confirmed it.", hint="Try again.", retry=True)
        left = sorted(hosts.keys() - set(done))
        lacks = f" Not confirmed by {', '.join(left)}: run it again." if left else ""
        from opsdash.operations.drain_build import DrainBuild  # each undoes the other

        return Effect(
            affected=len(done),
            ok=not left,
            message=f"{count(len(done), 'worker')} of build {self.build} take tasks again.{lacks}",
            details={"workers": sorted(done), "left": left},
            undo=DrainBuild(build=self.build),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What is still written down; it is struck out once a worker has confirmed."""
        left = quieted(services, self.build)
        return {"message": f"{count(len(left), 'worker')} of build {self.build} have not confirmed it."}

    def _hosts(self, services: Services) -> Mapping[str, list[str]]:
        if not self.build:
            raise Invalid("name a build.", field="build")
        found = quieted(services, self.build)
        if not found:
            raise Refused(f"No worker that reports build {self.build!r} was drained by opsdash.", field="build")
        return found


def of_build(workers: Iterable[WorkerStats], build: str) -> list[WorkerStats]:
    """The known workers of one build, silent ones too: what they ran may still run."""
    return [worker for worker in workers if build and worker.build == build]


def quieted(services: Services, build: str) -> dict[str, list[str]]:
    """Those that take no tasks since opsdash has asked them to: hostname → the queues that they get back."""
    hosts = [worker.hostname for worker in of_build(services.workers.read(), build) if worker.reports]
    return {host: queues for host, queues in services.remote.quieted_of(hosts).items() if queues}
