"""Quiet: one worker takes no more tasks, until it is woken; the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.errors import Refused, Uncertain
from opsdash.model import Effect, Preview, count
from opsdash.operation import Act, Operation, argument
from opsdash.services.remote import Remote

if TYPE_CHECKING:
    from opsdash.services.console import Console


class QuietWorker(Operation):
    """Sends ``cancel_consumer`` for each queue of one worker; ``WakeWorker`` undoes just that."""

    name: ClassVar[str] = "quiet_worker"
    title: ClassVar[str] = "Quiet Worker"
    help: ClassVar[str] = "Stop one worker from taking tasks; what it holds already still runs."
    warning: ClassVar[str] = "This worker takes no more tasks until it is woken, or restarts."

    hostname: str = argument(default="", positional=True, help="The worker, as opsdash workers names it.")

    def preview(self, console: Console) -> Preview:
        """Its queues, and which of them nobody else works on."""
        remote = Remote(console.broker, console.fleet)
        queues = _consumed(remote, self.hostname)
        others = [w for w in console.workers.read() if w.state != "offline" and w.hostname != self.hostname]
        held = sum(w.active + w.reserved + w.scheduled for w in console.workers.read() if w.hostname == self.hostname)
        alone = [queue for queue in queues if not any(queue in other.queues for other in others)]
        lines = [
            f"{self.hostname} stops taking tasks from {', '.join(queues)}; {count(held, 'task')} it holds will run."
        ]
        if alone:
            lines.append(f"No other worker with the plug-in takes tasks from {', '.join(alone)}: they will wait.")
        figures = {"queues": queues, "held": held, "alone": alone}
        return Preview(title=self.title, warning=self.warning, lines=tuple(lines), figures=figures)

    def execute(self, console: Console, act: Act) -> Effect:
        """Tells it, and waits for its word."""
        remote = Remote(console.broker, console.fleet)
        queues = _consumed(remote, self.hostname)
        confirmed = remote.quiet(self.hostname, queues)
        if set(confirmed) < set(queues):
            raise Uncertain(f"{self.hostname} confirmed {count(len(confirmed), 'queue')} of {len(queues)}; look again.")
        return Effect(
            affected=len(confirmed),
            message=f"{self.hostname} takes no more tasks from {', '.join(confirmed)}.",
            details={"queues": confirmed, "undo": f"opsdash wake-worker {self.hostname}"},
        )


def _consumed(remote: Remote, hostname: str) -> list[str]:
    queues = remote.consumed(hostname)
    if not queues:
        raise Refused(f"{hostname!r} takes tasks from no queue, is no worker, or does not answer. Nothing was changed.")
    return queues
