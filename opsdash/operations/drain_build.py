"""Drain one build: its workers take no more tasks and finish those they have, while other builds' workers go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Refused, Unavailable
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Progress, Snapshot, WorkerStats
from opsdash.operation import Act, Operation, TakenBack, argument
from opsdash.operations.wake_build import WakeBuild, of_build, quieted
from opsdash.text import choices, count

if TYPE_CHECKING:
    from opsdash.services.services import Services

NAMED = 5
"""Workers that a sentence names."""


class DrainBuild(Operation):
    """Sends ``cancel_consumer`` for each queue of each of its workers; ``WakeBuild`` undoes just that."""

    name: ClassVar[str] = "drain_build"
    title: ClassVar[str] = "Drain Build"
    help: ClassVar[str] = "Stop all workers of one build from taking tasks; their current tasks still run."
    warning: ClassVar[str] = "The workers of this build take no more tasks until they are woken, or restart."
    settles: ClassVar[bool] = True
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
        return f"Drain build {self.build}" if self.build else self.title

    def preview(self, services: Services) -> Preview:
        """Its workers, what they hold, and which queues nobody else works on."""
        known = services.workers.read()
        workers = self._workers(known)
        running, fetched = sum(w.active for w in workers), sum(w.reserved for w in workers)
        later, silent = sum(w.scheduled for w in workers), [w.hostname for w in workers if not w.reports]
        names = {w.hostname for w in workers}
        served = {queue for w in known if w.reports and w.hostname not in names for queue in w.queues}
        served |= {queue for other in services.unmanaged.known() or () for queue in other.queues}
        alone = sorted({queue for w in workers for queue in w.queues} - served)
        has = f"{count(running, 'running task')} and {fetched:,} fetched will run" if running or fetched else "idle now"
        lines = [Line("will", f"{count(len(workers), 'worker')} of build {self.build} stop taking tasks; {has}.")]
        if alone:
            lines.append(Line("warning", f"No other worker takes tasks from {', '.join(alone)}: they will wait."))
        if silent:
            lines.append(Line("warning", f"Not reached, as they do not report: {_listed(silent)}."))
        if later:
            lines.append(
                Line("note", f"{count(later, 'task')} with an ETA go back to the queues when they are stopped.")
            )
        stays = "Not stopped: broadcasts, and workers of other builds. A restart of a worker ends this for it."
        lines.append(Line("will_not", stays))
        figures = (
            Figure(name="workers", label="workers", value=len(workers)),
            Figure(name="running", label="running", value=running, unit="tasks"),
            Figure(name="fetched", label="fetched", value=fetched, unit="tasks"),
            Figure(name="alone", value=tuple(alone)),
        )
        return Preview(lines=tuple(lines), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and waits for their word."""
        workers = self._workers(services.workers.read())
        hosts = [worker.hostname for worker in workers if worker.reports]
        queues = services.remote.consumed_by(hosts)
        if not queues:
            raise Unavailable(f"No worker of build {self.build} answers.", silent=True)
        asked = {host: names for host, names in queues.items() if names}
        confirmed = services.remote.quiet_each(asked)
        done = [host for host in queues if set(confirmed.get(host, ())) >= set(queues[host])]
        left = sorted({worker.hostname for worker in workers} - set(done))
        lacks = f" Not confirmed by {_listed(left)}." if left else ""
        of = f"{len(done):,} of {count(len(workers), 'worker')} of build {self.build}"
        return Effect(
            affected=len(done),
            ok=not left,
            message=f"{of} take no more tasks.{lacks}",
            details={"workers": sorted(done), "left": left},
            undo=WakeBuild(build=self.build),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What was stored before the workers got the command."""
        hosts = quieted(services, self.build)
        return {"message": f"{count(len(hosts), 'worker')} of build {self.build} may have got the command."}

    def progress(self, snapshot: Snapshot) -> Progress:
        """How many of them have finished; those that are gone have."""
        workers = of_build(snapshot.workers, self.build)
        if snapshot.redis_error:
            return Progress(done=False, message=f"Not known: {snapshot.redis_error}", stage="unknown")
        left = [worker for worker in workers if not _is_drained(worker)]
        done, silent = len(workers) - len(left), [worker.hostname for worker in left if not worker.reports]
        taking = [worker.hostname for worker in left if worker.reports and worker.queues]
        if not workers:
            return Progress(done=True, message=f"No worker of build {self.build} is left.", final=True, at=0, of=0)
        if not left:
            message = f"All {count(done, 'worker')} of build {self.build} are drained."
            return Progress(done=True, message=message, at=done, of=done)
        running = sum(worker.active + worker.reserved for worker in left if worker.reports)
        parts = [f"{done} of {count(len(workers), 'worker')} of build {self.build} drained"]
        parts += [f"{count(running, 'task')} left"] if running else []
        parts += [f"still taking tasks: {_listed(taking)}"] if taking else []
        parts += [f"silent: {_listed(silent)}"] if silent else []
        return Progress(
            done=False,
            message=f"{'; '.join(parts)}.",
            final=len(silent) == len(left),
            stage=f"{done} {len(taking)} {len(silent)}",
            at=done,
            of=len(workers),
            todo=("Dismiss a silent worker once you know that its process has ended.",) if silent else (),
        )

    def take_back(self, services: Services, done: TakenBack) -> Operation | str:
        """Wakes those that are still there; a worker that was restarted takes tasks anyway."""
        if quieted(services, self.build):
            return WakeBuild(build=self.build)
        return f"No worker of build {self.build} is left that was drained."

    def _workers(self, known: Sequence[WorkerStats]) -> list[WorkerStats]:
        if not self.build:
            raise Invalid("name a build.", field="build")
        found = of_build(known, self.build)
        if not found:
            builds = sorted({worker.build for worker in known if worker.build})
            hint = f"Builds: {choices(builds, self.build)}." if builds else "No worker has an OPSDASH_BUILD."
            raise Refused(f"No worker reports build {self.build!r}.", hint=hint, field="build")
        return found


def _is_drained(worker: WorkerStats) -> bool:
    """It reports that it takes no tasks, and has finished those it had; what waits for its time is held in it."""
    return worker.reports and not worker.active and not worker.reserved and (worker.draining or not worker.queues)


def _listed(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    return f"{', '.join(hosts[:NAMED])}{more}"
