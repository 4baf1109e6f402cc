"""Revoke: one task, named by its id, does not run; or stops running."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.errors import Invalid, Uncertain
from opsdash.model import Effect, Preview, Role, count
from opsdash.operation import Act, Operation, argument
from opsdash.services.remote import Remote

if TYPE_CHECKING:
    from opsdash.services.console import Console


class RevokeTask(Operation):
    """Tells every worker to throw the task away when it comes, or to kill the process that runs it."""

    name: ClassVar[str] = "revoke_task"
    title: ClassVar[str] = "Revoke Task"
    help: ClassVar[str] = "Keep one task from running, or terminate it while it runs."
    warning: ClassVar[str] = "The task is thrown away when a worker takes it; this can't be undone."
    minimum_role: ClassVar[Role] = Role.OPERATOR

    task_id: str = argument(default="", positional=True, help="The task's id, as opsdash peek shows it.")
    terminate: bool = argument(
        default=False,
        help="Also kill the process that runs it, in the middle of whatever it does; pools without processes can't.",
        label="Also kill the process that runs it, in the middle of whatever it does",
    )

    def preview(self, console: Console) -> Preview:
        """Which worker holds it, under which name."""
        self._check()
        holders = Remote(console.broker, console.fleet).holders(self.task_id)
        active = [host for host, (state, _) in holders.items() if state == "active"]
        lines = [f"{host} holds it ({state}): {name}." for host, (state, name) in holders.items()] or [
            "No worker says that it holds it: it may wait, be done, or never have been."
        ]
        if active:
            lines.append("It runs: its process is killed." if self.terminate else "It runs, and will finish.")
        lines.append("Workers that start later learn of it from those that run now; when all restart, it is forgotten.")
        return Preview(
            title=self.title,
            warning=self.warning,
            lines=tuple(lines),
            figures={"held_by": sorted(holders), "active_on": active},
            choices=("terminate",),
        )

    def execute(self, console: Console, act: Act) -> Effect:
        """Broadcasts it, and counts who confirmed."""
        self._check()
        confirmed = Remote(console.broker, console.fleet).revoke(self.task_id, terminate=self.terminate)
        if not confirmed:
            raise Uncertain(f"No worker confirmed that {self.task_id} is revoked; one that was busy may still do it.")
        what = "Terminated" if self.terminate else "Revoked"
        message = f"{what} {self.task_id}: {count(len(confirmed), 'worker')} confirmed."
        return Effect(affected=len(confirmed), message=message, details={"confirmed": confirmed})

    def _check(self) -> None:
        if not self.task_id.strip() or any(char.isspace() for char in self.task_id):
            raise Invalid("task_id: expected one task's id. Nothing was changed.")
