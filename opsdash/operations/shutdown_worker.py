"""Shut down: a worker takes no more tasks, finishes those that run, and ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Uncertain
from opsdash.model import AuditEntry, Effect, Line, Preview, Role
from opsdash.operation import Act, Operation
from opsdash.operations import chosen_workers
from opsdash.operations.chosen_workers import ChosenWorkers, shown
from opsdash.services.workers.pools import ALL
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class ShutdownWorker(ChosenWorkers, Operation):
    """Sends Celery's ``shutdown``, a warm one. Nothing here can start a worker: that is its supervisor's work."""

    name: ClassVar[str] = "shutdown_worker"
    title: ClassVar[str] = "Shut Down Worker"
    help: ClassVar[str] = "Have a worker finish its running tasks and end."
    warning: ClassVar[str] = "opsdash can't start a worker. Where a supervisor watches it, that may do so at once."
    minimum_role: ClassVar[Role] = Role.ADMIN
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    def heading(self) -> str:
        """Which worker."""
        return f"Shut down {self.target}" if self.target else self.title

    def phrase(self, services: Services) -> str:
        """How many workers, where all are meant."""
        return count(len(services.remote.hostnames()), "worker") if self.hostname.split() == [ALL] else ""

    def preview(self, services: Services) -> Preview:
        """What runs and has to end first, what goes back, and which queues nobody else works on."""
        chosen = services.pools.choose(self.hostname)
        served = {w.hostname: w.queues for w in services.workers.read() if w.reports}
        served |= {other.hostname: other.queues for other in services.unmanaged.known() or ()}
        left = {queue for host, queues in served.items() if host not in chosen.hosts for queue in queues}
        alone = sorted({queue for host in chosen.hosts for queue in served.get(host, ())} - left)
        will = (
            f"{pool.hostname} takes no more tasks and ends"
            f"{' when its tasks have ended' if pool.active is None else _after(pool.active)}."
            for pool in chosen.pools
        )
        found = [*chosen_workers.lines("will", will), *chosen_workers.left_out(chosen, {})]
        if alone:
            found.append(Line("warning", f"No other worker takes tasks from {shown(alone)}: they will wait."))
        found.append(Line("will", "Tasks that it has fetched and not started go back to their queues."))
        found.append(Line("will_not", "No running task is ended, however long it takes; opsdash has no undo for this."))
        return Preview(lines=tuple(found), figures=chosen_workers.figures(chosen, {}))

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and looks who answers no more and who has left."""
        chosen = services.pools.choose(self.hostname)
        left = services.pools.shut_down(chosen.pools)
        if len(left.there + left.unsure) == len(chosen.pools):
            raise Uncertain(f"{shown(left.there + left.unsure)} goes on as if it had not got the command.")
        parts = [f"{shown(left.gone)} ended."] if left.gone else []
        parts += [f"{shown(left.mute)} answers no more; it ends when its tasks have ended."] if left.mute else []
        parts += [f"{host} takes no more tasks and ends{_after(active)}." for host, active in left.finishing.items()]
        parts += [f"{shown(left.there)} still answers."] if left.there else []
        parts += [f"{shown(left.unsure)} may not have got the command."] if left.unsure else []
        parts += [f"No command sent to {shown(chosen.silent)}: no answer."] if chosen.silent else []
        details = {name: getattr(left, name) for name in ("gone", "mute", "finishing", "there", "unsure")}
        details["untold"], told = chosen.silent, len(left.gone) + len(left.mute) + len(left.finishing)
        return Effect(affected=told, message=" ".join(parts), details=details, ok=not left.there + left.unsure)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Who of them is on the list of workers."""
        there = services.remote.hostnames().intersection(self.hostname.split())
        return {"message": f"On the list of workers now: {shown(sorted(there)) or 'none of them'}."}


def _after(active: int) -> str:
    return f" after {count(active, 'running task')}" if active else ""
