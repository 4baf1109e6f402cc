"""Revoke: one task, named by its id, does not run; or stops running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused, Uncertain
from opsdash.model import AuditEntry, Effect, Figure, FoundTask, Line, Preview, TaskPlace
from opsdash.operation import Act, Operation, argument
from opsdash.services.queues.find_task import checked_id
from opsdash.services.queues.found_text import missing, where
from opsdash.services.workers.remote_control import CANNOT_TERMINATE
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services

STATES = {
    "active": "is running it",
    "reserved": "has fetched it and not started it",
    "scheduled": "has fetched it, with an ETA",
}


class RevokeTask(Operation):
    """Tells every worker to throw the task away when it comes, or to end the process that runs it."""

    name: ClassVar[str] = "revoke_task"
    title: ClassVar[str] = "Revoke Task"
    help: ClassVar[str] = "Keep one task from running, or terminate it while it runs."
    warning: ClassVar[str] = "The task is discarded when a worker receives it. This can't be undone."
    danger: ClassVar[bool] = True
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    task_id: str = argument(default="", positional=True, help="The task's id, as opsdash peek shows it.", label="Task")
    terminate: bool = argument(
        default=False,
        help="Also end the process that runs it (SIGTERM), in the middle of its work.",
        label="Also end the process that runs it, in the middle of its work",
    )

    def heading(self) -> str:
        """Which task."""
        return f"Revoke task {self.task_id}".rstrip()

    def preview(self, services: Services) -> Preview:
        """Which worker holds it, under which name, and what Celery's revoke does not do."""
        found = self._find(services)
        holders = {place.worker: place for place in found.places if place.state in STATES and place.worker}
        active = [host for host, place in holders.items() if place.state == "active"]
        waits = next((place for place in found.places if place.state == "waiting"), None)
        lines = [Line("will", f"{host} {STATES[place.state]}: {place.name}.") for host, place in holders.items()]
        if waits is not None and not holders:
            lines.append(Line("will", f"It waits in {waits.queue}. A worker discards it when it receives it."))
            lines.append(Line("note", f"To take it out of the queue, with undo: opsdash remove-task {self.task_id}"))
        elif not holders and any(place.state in STATES for place in found.places):
            lines.append(Line("will", "A worker has fetched it and does not answer. The command is sent to it anyway."))
        elif not found.found:
            lines.append(
                Line("warning", f"It is not known where it is, or whether it exists: {missing(found.looked_at)}.")
            )
        pools = {worker.hostname: worker.pool for worker in services.workers.read()} if active else {}
        unable = [host for host in active if pools.get(host) in CANNOT_TERMINATE]
        if active and self.terminate and unable:
            lines += [Line("will_not", _runs_on(host, pools[host])) for host in unable]
        elif active and self.terminate:
            lines.append(Line("will", "Its process is ended in the middle of its work."))
        elif active:
            lines.append(Line("will_not", "A running task is not ended."))
        stays = (
            "Not removed from Redis. The workers that run now remember the task as revoked, by default for"
            " three hours, and discard it when they receive it."
        )
        lines += [Line("will_not", stays), Line("note", "When all workers restart, they forget it.")]
        figures = (
            Figure(name="held_by", value=tuple(holders)),
            Figure(name="active_on", value=tuple(active)),
            Figure(name="waits_in", value="" if waits is None else waits.queue),
            Figure(name="found", value=found.found),
        )
        return Preview(lines=tuple(lines), figures=figures, choices=("terminate",))

    def execute(self, services: Services, act: Act) -> Effect:
        """Broadcasts it, and tells who confirmed, who can't and who was silent."""
        found = self._find(services)
        revoked = services.remote.revoke(self.task_id, terminate=self.terminate)
        if not revoked.confirmed and not revoked.failed:
            raise Uncertain(f"No worker confirmed that {self.task_id} is revoked. A busy worker may still do it.")
        if not found.found and not revoked.ended and not revoked.unable:
            raise Uncertain(
                f"{count(len(revoked.confirmed), 'worker')} will discard {self.task_id} on receipt. It is not known"
                f" whether it exists: {missing(found.looked_at)}."
            )
        message = f"Revoked {self.task_id}: {count(len(revoked.confirmed), 'worker')} confirmed."
        if self.terminate:
            hosts = ", ".join(revoked.ended)
            if hosts:
                message += f" Ended, or not started, on {hosts}."
            elif not revoked.unable:
                message += " No worker had it, so none was ended."
            pools = {worker.hostname: worker.pool for worker in services.workers.read()} if revoked.unable else {}
            message += "".join(f" {_runs_on(host, pools.get(host, ''))}" for host in revoked.unable)
        message += "".join(f" {host} failed: {why}." for host, why in revoked.failed.items())
        message += f" No answer from {', '.join(revoked.silent)}." if revoked.silent else ""
        details = {
            "confirmed": revoked.confirmed,
            "ended": revoked.ended,
            "failed": revoked.failed,
            "unable": revoked.unable,
            "silent": revoked.silent,
        }
        return Effect(affected=1, message=message, details=details, ok=not revoked.failed and not revoked.unable)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Nothing: only the workers remember it."""
        return {"message": "Workers may have received it or not. You can revoke the task again."}

    def _find(self, services: Services) -> FoundTask:
        """Where it is, of the places that a revoke changes.

        Raises:
            Refused: It is in none of them.
        """
        checked_id(self.task_id)
        services.unmanaged.askable()
        found = services.finder.find(self.task_id, whole=True)
        alive = tuple(place for place in found.places if place.state in {"waiting", *STATES})
        looked_at = tuple(look for look in found.looked_at if look.what in {"queues", "fetched", "workers"})
        if not alive and (found.places or not missing(looked_at)):
            raise Refused(_not_there(self.task_id, found.places), field="task_id")
        return replace(found, places=alive, looked_at=looked_at)


def _not_there(task_id: str, places: tuple[TaskPlace, ...]) -> str:
    """That nothing can be revoked, and where the task is instead."""
    if places:
        return f"Task {task_id} is {where(places[0])}: there is nothing to revoke."
    return f"There is no task {task_id}: no worker has it, and no known queue has it. It may be finished."


def _runs_on(host: str, pool: str) -> str:
    """That the worker can't end it."""
    return f"The pool{f' {pool}' if pool else ''} of {host} can't terminate a task: it runs to its end there."
