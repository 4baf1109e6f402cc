"""Revoke: one task, named by its id, does not run; or stops running."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Refused, Uncertain
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.services.queues.find_task import Whereabouts, find_everywhere
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services

ID = re.compile(r"[^\s*?<>\"'`]{1,255}")
"""A task's id: one word, and no pattern. Celery makes UUIDs; a sender may choose its own."""
CANNOT_TERMINATE = {"threads", "solo"}
"""Pools of Celery's that have no way to end a running task."""
STATES = {"active": "is running it", "reserved": "has fetched it and not started it"}


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
        self._check()
        found = self._find(services)
        active = [host for host, (state, _) in found.holders.items() if state == "active"]
        lines = [
            Line("will", f"{host} {STATES.get(state, 'has fetched it, with an ETA')}: {name}.")
            for host, (state, name) in found.holders.items()
        ]
        if found.queue:
            lines.append(Line("will", f"It waits in {found.queue}. A worker discards it when it receives it."))
        elif found.fetched:
            lines.append(Line("will", "A worker has fetched it and does not answer. The command is sent to it anyway."))
        elif not found.found:
            lines.append(Line("warning", f"It is not known where it is, or whether it exists: {_why(found)}."))
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
            Figure(name="held_by", value=tuple(found.holders)),
            Figure(name="active_on", value=tuple(active)),
            Figure(name="waits_in", value=found.queue),
            Figure(name="found", value=found.found),
        )
        return Preview(lines=tuple(lines), figures=figures, choices=("terminate",))

    def execute(self, services: Services, act: Act) -> Effect:
        """Broadcasts it, and tells who confirmed, who can't and who was silent."""
        self._check()
        found = self._find(services)
        revoked = services.remote.revoke(self.task_id, terminate=self.terminate)
        if not revoked.confirmed and not revoked.failed:
            raise Uncertain(f"No worker confirmed that {self.task_id} is revoked. A busy worker may still do it.")
        if not found.found and not revoked.ended and not revoked.unable:
            raise Uncertain(
                f"{count(len(revoked.confirmed), 'worker')} will discard {self.task_id} on receipt. It is not known"
                f" whether it exists: {_why(found)}."
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

    def _find(self, services: Services) -> Whereabouts:
        found = find_everywhere(services.broker, services.remote, services.queue_names(), self.task_id)
        if found.nowhere:
            raise Refused(
                f"There is no task {self.task_id}: no worker has it, and no known queue has it. It may be finished.",
                field="task_id",
            )
        return found

    def _check(self) -> None:
        if not ID.fullmatch(self.task_id) or not self.task_id.isprintable():
            raise Invalid("expected one task's id.", field="task_id")


def _runs_on(host: str, pool: str) -> str:
    """That the worker can't end it."""
    return f"The pool{f' {pool}' if pool else ''} of {host} can't terminate a task: it runs to its end there."


def _why(found: Whereabouts) -> str:
    """Why it is not known."""
    silent = f"no answer from {', '.join(found.silent)}" if found.silent else ""
    more = "" if found.complete else "not all pending tasks were searched"
    return " and ".join(filter(None, [silent, more]))
