"""What a console that serves does all the time, with no page open too."""

from __future__ import annotations

from dataclasses import dataclass, field

from opsdash.services.best_effort import best_effort
from opsdash.services.console import Console
from opsdash.services.notify.notifier import Notifier
from opsdash.services.push.pusher import Pusher


@dataclass(slots=True)
class Background:
    """Records the history, sends notifications, and pushes finished audit entries."""

    console: Console
    notifier: Notifier = field(init=False)
    pusher: Pusher = field(init=False)

    def __post_init__(self) -> None:
        """Built here, begun by ``start``."""
        console = self.console
        self.notifier = Notifier(
            console.settings,
            broker=console.broker,
            audit=console.audit,
            failed=console.failed,
            poller=console.poller,
        )
        self.pusher = Pusher(console.settings, broker=console.broker, audit=console.audit)

    def start(self) -> None:
        """Begins all of it."""
        self.console.poller.subscribe(self.console.history.record)
        self.notifier.start()
        self.pusher.start()

    def close(self) -> None:
        """Ends it; the console is closed afterwards. Raises nothing."""
        best_effort("ending notifications", self.notifier.close)
        best_effort("ending the push of audit entries", self.pusher.close)
