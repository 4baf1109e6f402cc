"""Wake: a worker that was quieted takes tasks again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused, Uncertain
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation
from opsdash.operations.one_worker import OneWorker
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class WakeWorker(OneWorker, Operation):
    """Sends ``add_consumer`` for what ``QuietWorker`` has cancelled on one worker."""

    name: ClassVar[str] = "wake_worker"
    title: ClassVar[str] = "Wake Worker"
    help: ClassVar[str] = "Let a worker that was quieted take tasks again."
    warning: ClassVar[str] = "This worker starts the pending tasks of its queues at once, unless they are paused."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    def heading(self) -> str:
        """Which worker."""
        return f"Wake worker {self.hostname}".rstrip()

    def preview(self, services: Services) -> Preview:
        """The queues it gets back, and what waits there."""
        queues = self._queues(services)
        pauses = services.pause.read(queues)
        paused = queues if None in pauses else [queue for queue in queues if queue in pauses]
        waiting = {queue.name: queue.waiting for queue in services.queues.read(queues)}
        free = [queue for queue in queues if queue not in paused]
        at_once, waiting_paused = sum(waiting[queue] for queue in free), sum(waiting[queue] for queue in paused)
        lines = []
        if free:
            lines.append(Line("will", f"{_takes(self.hostname, free)} again; {count(at_once, 'task')} waiting."))
        if paused:
            text = f"{_takes(self.hostname, paused)} again when {'it is' if len(paused) == 1 else 'they are'} no longer"
            lines.append(Line("will_not", f"{text} paused; {count(waiting_paused, 'task')} waiting."))
        figures = (
            Figure(name="queues", value=tuple(queues)),
            Figure(name="paused_queues", value=tuple(paused)),
            Figure(name="waiting", label="waiting", value=at_once, unit="tasks"),
            Figure(name="staying", label="waiting, paused", value=waiting_paused, unit="tasks"),
        )
        return Preview(lines=tuple(lines), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells it, and waits for its word."""
        queues = self._queues(services)
        confirmed = services.remote.wake(self.hostname)
        if missing := sorted(set(queues) - set(confirmed)):
            names = ", ".join(missing)
            raise Uncertain(
                f"{self.hostname} did not confirm that it takes tasks from {names} again.",
                hint="Try again.",
                retry=True,
            )
        message = f"{self.hostname} takes tasks from {', '.join(confirmed)} again."
        from opsdash.operations.quiet_worker import QuietWorker  # each undoes the other

        undo = QuietWorker(hostname=self.hostname)
        return Effect(affected=len(confirmed), message=message, details={"queues": confirmed}, undo=undo)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What is still written down; it is struck out once the worker has confirmed."""
        queues = services.remote.quieted(self.hostname)
        if not queues:
            return {"message": f"{self.hostname} has confirmed that it takes tasks again."}
        return {"message": f"{self.hostname} has not confirmed {', '.join(queues)}. Run it again."}

    def _queues(self, services: Services) -> list[str]:
        self.check_named()
        queues = services.remote.quieted(self.hostname)
        if not queues:
            raise Refused(f"{self.hostname!r} was not quieted by opsdash.", field="hostname")
        workers = services.workers.read()
        reports = any(w.hostname == self.hostname and w.reports and w.pausing == "ready" for w in workers)
        if not reports and services.pause.read(queues):
            raise Refused(
                f"{self.hostname} is not stopped by the current pause.", hint="Resume first.", field="hostname"
            )
        return queues


def _takes(hostname: str, queues: list[str]) -> str:
    return f"{hostname} takes tasks from {', '.join(queues)}"
