"""Restart: a worker ends its pool's processes, each when its task has ended, and starts new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.model import AuditEntry, Effect, Line, Preview
from opsdash.operation import Act, Operation
from opsdash.operations import chosen_workers
from opsdash.operations.chosen_workers import ChosenWorkers
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services
    from opsdash.services.workers.pools import Chosen


class RestartPool(ChosenWorkers, Operation):
    """Sends Celery's ``pool_restart``: against memory that leaks, or a child that hangs on a lost connection."""

    name: ClassVar[str] = "restart_pool"
    title: ClassVar[str] = "Restart Pool"
    help: ClassVar[str] = "Have a worker replace its pool's processes; running tasks finish."
    warning: ClassVar[str] = "New processes load the same code: the worker itself is not restarted."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    def heading(self) -> str:
        """Of which worker."""
        return f"Restart the pool of {self.target}" if self.target else self.title

    def preview(self, services: Services) -> Preview:
        """How many processes are replaced, what runs in them, and which workers can't do that."""
        chosen = services.pools.choose(self.hostname)
        unable = _unable(chosen)
        hosts = chosen_workers.able(chosen, unable)
        doing = [pool for pool in chosen.pools if pool.hostname in hosts]
        will = (f"{pool.hostname} replaces its {pool.size or 0:,} processes; {_finish(pool.active)}." for pool in doing)
        unknown = [pool.hostname for pool in doing if pool.restarts is None]
        found = [*chosen_workers.lines("will", will), *chosen_workers.left_out(chosen, unable)]
        if unknown:
            text = f"It is not known of {chosen_workers.shown(unknown)} whether worker_pool_restarts is on."
            found.append(Line("warning", f"{text} Without it the worker refuses."))
        text = "An idle process is replaced after its next task, and one whose task never ends is not."
        found.append(Line("will_not", text))
        return Preview(lines=tuple(found), figures=chosen_workers.figures(chosen, unable))

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and counts who has confirmed."""
        chosen = services.pools.choose(self.hostname)
        unable = _unable(chosen)
        hosts = chosen_workers.able(chosen, unable)
        answers = services.remote.tell("pool_restart", {host: {} for host in hosts})
        done = dict.fromkeys(
            answers.confirmed, "replaces each process when its task has ended, an idle one after its next task"
        )
        return chosen_workers.effect(answers, chosen, unable, done)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Nothing: workers don't tell when their processes started."""
        return {"message": "Workers may have received it or not. You can restart the pool again."}


def _finish(active: int | None) -> str:
    return "running tasks finish first" if active is None else f"{count(active, 'running task')} will finish first"


def _unable(chosen: Chosen) -> dict[str, str]:
    why = {}
    for pool in chosen.pools:
        if pool.kind not in ("prefork", ""):
            why[pool.hostname] = f"a pool of {pool.kind} has no processes to replace"
        elif pool.restarts is False:
            why[pool.hostname] = "it was started without worker_pool_restarts=True"
    return why
