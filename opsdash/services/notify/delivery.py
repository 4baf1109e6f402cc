"""Messages on their way: one at a time for each address, each in its own thread: a slow address delays no other."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from opsdash.services.notify.outbox import Message, TargetState, after_failure
from opsdash.services.notify.targets import Ready, Target
from opsdash.services.notify.webhook import NotTaken
from opsdash.values import frozen

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Outcome:
    """How an attempt ended. ``problem``: why it was not taken; empty: it was. ``refused``: it will not be later."""

    message: Message
    problem: str = ""
    refused: bool = False


class Delivery:
    """Sends, and says how it went. One thread begins and collects; the others only send.

    Args:
        ended: Called when an outcome can be collected.
    """

    def __init__(self, ended: Callable[[], object] = lambda: None) -> None:
        self._ended = ended
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._under_way: set[str] = set()
        self._states: dict[str, TargetState] = {}
        self._begun_s: dict[str, float] = {}  # monotonic

    @property
    def under_way(self) -> int:
        """Attempts that have not ended."""
        return len(self._under_way)

    def free(self, target: str) -> bool:
        """Whether this address can be tried now."""
        return target not in self._under_way and time.monotonic() >= self._state(target).next_s

    def failing(self, target: str) -> bool:
        """Whether its last attempt failed."""
        return self._state(target).failures > 0

    def failing_s(self, target: str) -> float:
        """From the first to the last of its failures in a row, or how long an attempt lasts; 0: it takes messages.

        By attempts, not until now: in quiet hours there may be none.
        """
        state = self._state(target)
        failed_s = state.failed_s - state.since_s if state.failures else 0.0
        return max(failed_s, time.monotonic() - self._begun_s[target] if target in self._under_way else 0.0)

    def begin(self, target: Target, message: Message, ready: Ready) -> None:
        """Sends it, in a thread that nobody waits for."""
        self._under_way.add(message.target)
        self._begun_s[message.target] = time.monotonic()
        sending = threading.Thread(
            target=self._send, args=(target, message, ready), name="opsdash-notification", daemon=True
        )
        try:
            sending.start()
        except RuntimeError:  # the system has no thread left: else the address would be busy for ever
            self._outcomes.put(Outcome(message=message, problem="no thread could be started"))

    def collect(self) -> list[Outcome]:
        """Attempts that have ended since the last time."""
        found = []
        while not self._outcomes.empty():
            outcome = self._outcomes.get()
            target = outcome.message.target
            self._under_way.discard(target)
            state = self._state(target)
            self._states[target] = after_failure(state, time.monotonic()) if outcome.problem else TargetState()
            found.append(outcome)
        return found

    def _state(self, target: str) -> TargetState:
        return self._states.get(target, TargetState())

    def _send(self, target: Target, message: Message, ready: Ready) -> None:
        problem, refused = "", False
        try:
            target.send(ready)
        except NotTaken as error:
            problem, refused = str(error), error.refused
        except Exception as error:  # noqa: BLE001 - a bug must not leave the address busy for ever
            log.error("sending a notification failed: %s", type(error).__name__)
            problem = type(error).__name__
        self._outcomes.put(Outcome(message=message, problem=problem, refused=refused))
        self._ended()
