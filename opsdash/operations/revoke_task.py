"""Revoke: one task, named by its id, does not run; or stops running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid, Uncertain
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services

SAID = {"active": "is running it", "reserved": "has fetched it, it has not begun"}


class RevokeTask(Operation):
    """Tells every worker to throw the task away when it comes, or to end the process that runs it."""

    name: ClassVar[str] = "revoke_task"
    title: ClassVar[str] = "Revoke Task"
    help: ClassVar[str] = "Keep one task from running, or terminate it while it runs."
    warning: ClassVar[str] = "The task is thrown away when a worker comes to it; this can't be undone."
    danger: ClassVar[bool] = True
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    task_id: str = argument(default="", positional=True, help="The task's id, as opsdash peek shows it.", label="Task")
    terminate: bool = argument(
        default=False,
        help="Also end the process that runs it (SIGTERM), in the middle of whatever it does.",
        label="Also end the process that runs it, in the middle of whatever it does",
    )

    def heading(self) -> str:
        """Which task."""
        return f"Revoke task {self.task_id}".rstrip()

    def preview(self, services: Services) -> Preview:
        """Which worker holds it, under which name, and what Celery's revoke does not do."""
        self._check()
        holders = services.remote.holders(self.task_id)
        active = [host for host, (state, _) in holders.items() if state == "active"]
        held = [
            f"{host} {SAID.get(state, 'has fetched it, it waits for its time')}: {name}."
            for host, (state, name) in holders.items()
        ] or ["No worker says that it has it: it may wait in Redis, be done, or never have been."]
        lines = [Line("will", text) for text in held]
        if active and self.terminate:
            lines.append(Line("will", "Its process is ended in the middle."))
        elif active:
            lines.append(Line("will_not", "Not ended: it runs to its end."))
        stays = (
            "Not removed from Redis: a task that waits there is only remembered as revoked, by the workers that run now"
            " and for three hours as Celery comes; one of them that takes it throws it away."
        )
        lines += [Line("will_not", stays), Line("note", "When all workers restart, it is forgotten.")]
        figures = (Figure(name="held_by", value=tuple(holders)), Figure(name="active_on", value=tuple(active)))
        return Preview(lines=tuple(lines), figures=figures, choices=("terminate",))

    def execute(self, services: Services, act: Act) -> Effect:
        """Broadcasts it, and tells who confirmed, who can't and who was silent."""
        self._check()
        said = services.remote.revoke(self.task_id, terminate=self.terminate)
        if not said.confirmed and not said.failed:
            raise Uncertain(f"No worker confirmed that {self.task_id} is revoked; one that was busy may still do it.")
        message = f"Revoked {self.task_id}: {count(len(said.confirmed), 'worker')} confirmed."
        if self.terminate:
            hosts = ", ".join(said.ended)
            message += f" Ended, or kept from beginning, on {hosts}." if hosts else " No worker had it: none was ended."
        message += "".join(f" {host} failed: {why}." for host, why in said.failed.items())
        message += f" No answer from {', '.join(said.silent)}." if said.silent else ""
        details = {"confirmed": said.confirmed, "ended": said.ended, "failed": said.failed, "silent": said.silent}
        return Effect(affected=1, message=message, details=details, ok=not said.failed)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Nothing: only the workers remember it."""
        return {"message": "Workers may have been told or not; to revoke it again does no harm."}

    def _check(self) -> None:
        if not self.task_id.isprintable() or not self.task_id or any(char.isspace() for char in self.task_id):
            raise Invalid("expected one task's id.", field="task_id")
