"""Quiet: one worker takes no more tasks, until it is woken; the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused, Uncertain
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation, command_line
from opsdash.operations.one_worker import OneWorker
from opsdash.operations.wake_worker import WakeWorker
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class QuietWorker(OneWorker, Operation):
    """Sends ``cancel_consumer`` for each queue of one worker; ``WakeWorker`` undoes just that."""

    name: ClassVar[str] = "quiet_worker"
    title: ClassVar[str] = "Quiet Worker"
    help: ClassVar[str] = "Stop one worker from taking tasks; its current tasks still run."
    warning: ClassVar[str] = "This worker takes no more tasks until it is woken, or restarts."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    def heading(self) -> str:
        """Which worker."""
        return f"Quiet worker {self.hostname}".rstrip()

    def preview(self, services: Services) -> Preview:
        """Its queues, what it holds, and which queues nobody else works on."""
        queues = self._queues(services)
        workers = [w for w in services.workers.read() if w.reports]
        current = next((w.active + w.reserved + w.scheduled for w in workers if w.hostname == self.hostname), None)
        served = {w.hostname: w.queues for w in workers} | {
            w.hostname: w.queues for w in services.unmanaged.known() or ()
        }
        served.pop(self.hostname, None)
        alone = [queue for queue in queues if not any(queue in names for names in served.values())]
        holds = "its current tasks" if current is None else f"its {count(current, 'current task')}"
        then = "it has none now" if current == 0 else f"{holds} will run"
        lines = [Line("will", f"{self.hostname} stops taking tasks from {', '.join(queues)}; {then}.")]
        if alone:
            lines.append(Line("warning", f"No other worker takes tasks from {', '.join(alone)}: they will wait."))
        stays = "Not stopped: broadcasts, which every worker gets. A restart of the worker ends this."
        lines.append(Line("will_not", stays))
        figures = (
            Figure(name="queues", value=tuple(queues)),
            Figure(name="held", label="in this worker", value=current, unit="tasks"),
            Figure(name="alone", value=tuple(alone)),
        )
        return Preview(lines=tuple(lines), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells it, and waits for its word."""
        queues = self._queues(services)
        confirmed = services.remote.quiet(self.hostname, queues)
        undo = WakeWorker(hostname=self.hostname)
        if missing := sorted(set(queues) - set(confirmed)):
            raise Uncertain(
                f"{self.hostname} did not confirm to have left {', '.join(missing)}.",
                hint=f"Undo: {command_line(undo)}",
            )
        message = f"{self.hostname} takes no more tasks from {', '.join(confirmed)}."
        return Effect(affected=len(confirmed), message=message, details={"queues": confirmed}, undo=undo)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What was stored before the worker got the command."""
        queues = services.remote.quieted(self.hostname)
        if not queues:
            return {"message": f"{self.hostname} did not get the command."}
        undo = command_line(WakeWorker(hostname=self.hostname))
        return {"message": f"{self.hostname} may take no more from {', '.join(queues)}; to undo it: {undo}"}

    def _queues(self, services: Services) -> list[str]:
        self.check_named()
        queues = services.remote.consumed(self.hostname)
        if not queues:
            raise Refused(f"{self.hostname} already takes tasks from no queue.", field="hostname")
        return queues
