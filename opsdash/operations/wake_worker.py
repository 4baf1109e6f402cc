"""Wake: a worker that was quieted takes tasks again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.errors import Refused, Uncertain
from opsdash.model import Effect, Preview, count
from opsdash.operation import Act, Operation, argument
from opsdash.services.remote import Remote

if TYPE_CHECKING:
    from opsdash.services.console import Console


class WakeWorker(Operation):
    """Sends ``add_consumer`` for what ``QuietWorker`` has cancelled on one worker."""

    name: ClassVar[str] = "wake_worker"
    title: ClassVar[str] = "Wake Worker"
    help: ClassVar[str] = "Let a worker that was quieted take tasks again."
    warning: ClassVar[str] = "This worker starts on what waits in its queues, at once."

    hostname: str = argument(default="", positional=True, help="The worker, as opsdash workers names it.")

    def preview(self, console: Console) -> Preview:
        """The queues it gets back, and what waits there."""
        queues = self._quieted(console)
        waiting = sum(queue.waiting for queue in console.queues.read(queues))
        line = f"{self.hostname} takes tasks from {', '.join(queues)} again; {count(waiting, 'task')} wait there."
        return Preview(title=self.title, warning=self.warning, lines=(line,), figures={"queues": queues})

    def execute(self, console: Console, act: Act) -> Effect:
        """Tells it, and waits for its word."""
        queues = self._quieted(console)
        confirmed = Remote(console.broker, console.fleet).wake(self.hostname)
        if set(confirmed) < set(queues):
            raise Uncertain(f"{self.hostname} confirmed {count(len(confirmed), 'queue')} of {len(queues)}; try again.")
        message = f"{self.hostname} takes tasks from {', '.join(confirmed)} again."
        return Effect(affected=len(confirmed), message=message, details={"queues": confirmed})

    def _quieted(self, console: Console) -> list[str]:
        queues = Remote(console.broker, console.fleet).quieted(self.hostname)
        if not queues:
            raise Refused(f"{self.hostname!r} was not quieted by opsdash. Nothing was changed.")
        return queues
