"""The gate every task passes on its way to the pool.

Open it costs one attribute test, and one count in a dict for the charts: about 0.1 µs. Closed it puts messages back.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery.utils.log import get_logger

from opsdash.keys import EVERYTHING
from opsdash.worker import celery_private
from opsdash.worker.bulk import put_back_together

logger = get_logger(__name__)

READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseState:
    """What the flags said when they were last read.

    Attributes:
        queues: Queues with a pause of their own.
        epoch: The pause counter; None when the flags could not be read.
        known: Queues whose flags were read.
        error: Why the flags could not be read; tasks run then.
        suspended: The expiry of some queue is suspended: a pause keeps it so, or somebody has to give it back.
    """

    everything: bool = False
    queues: frozenset[str] = frozenset()
    epoch: int | None = None
    known: frozenset[str] = frozenset()
    error: str = ""
    suspended: bool = field(default=False, compare=False)

    @property
    def closed(self) -> bool:
        """Something is paused."""
        return self.everything or bool(self.queues)

    def holds(self, queue: str) -> bool:
        """The queue is paused."""
        return self.everything or queue in self.queues

    def __str__(self) -> str:
        """For the log."""
        if self.everything:
            return "everything is paused"
        return f"paused: {', '.join(sorted(self.queues))}" if self.queues else "nothing is paused"


class Gate:
    """Holds the pause state and applies it to single messages.

    ``closed`` is what a running worker tests per task: paused, or nobody knows. ``state`` may change in any
    thread; ``applied`` is the last state the event loop has acted upon, so that nothing held by it starts any more.

    Attributes:
        show: Tells children what is paused. exempt: has them start a request nevertheless. Both for prefork only.
        started: Routing key, which is the queue's name as a rule, → tasks handed to the pool.
        recheck: Reads the flags once more, while they could not be read and tasks run for that reason.

    Args:
        pass_on: What Celery would have called: hands the request to the pool.
        connection_errors: What Celery answers with a new connection; kombu restores unacknowledged messages then.
    """

    def __init__(self, pass_on: Callable[[Any], Any], connection_errors: tuple[type[BaseException], ...]) -> None:
        self.closed = False
        self.state = PauseState()
        self.applied = PauseState()
        self.pausing = READY
        self.lock = threading.Lock()
        self.channel: Any = None
        self.show: Callable[[PauseState], None] | None = None
        self.exempt: Callable[[Any], None] | None = None
        self.recheck: Callable[[], None] | None = None
        self.started: defaultdict[str, int] = defaultdict(int)
        self._pass_on = pass_on
        # kombu counts KeyError among them; ours would send the worker into endless reconnecting.
        self.connection_errors = tuple(e for e in connection_errors if not issubclass(e, KeyError))

    def on_task_request(self, request: Any) -> Any:
        """Stands in for ``consumer.on_task_request``: direct, rate-limited and ETA tasks all come through here."""
        if self.closed and self.holds(request):
            return self.put_back(request)
        self.started[request.message.delivery_info.get("routing_key")] += 1
        return self._pass_on(request)

    def uncount(self, requests: Sequence[Any]) -> None:
        """These were handed to the pool, and taken back before they started."""
        for request in requests:
            key = request.message.delivery_info.get("routing_key")
            self.started[key] = self.started.get(key, 0) - 1

    def take_back(self, request: Any) -> None:
        """Answers a child that did not start a request. Event loop only."""
        if self.holds(request):
            self.uncount([request])
            self.put_back(request)
        else:  # a broadcast, or the pause has ended meanwhile
            self._run(request)

    def holds(self, request: Any) -> bool:
        """The request's queue is paused, and its message can be put back."""
        return not request.acknowledged and self.pauses(request)

    def pauses(self, request: Any) -> bool:
        """The request's queue is paused. Cost: one SMEMBERS, for a queue's own pause and a named exchange only."""
        if self.state.error and self.recheck is not None:  # a message has come: whoever sent it can tell the flags too
            self.recheck()
        state = self.state
        if not state.closed:
            return False
        # Broadcasts have no list to go back to: every worker has its own copy.
        if celery_private.is_broadcast(self.channel, request.message):
            return False
        if state.everything:
            return True
        return any(queue in state.queues for queue in celery_private.queues_of(self.channel, request.message))

    def put_back(self, request: Any) -> None:
        """Returns the message to its queue, to be the next one out; when Redis refuses that, runs the task.

        Raises:
            connection_errors: The message stays unacknowledged, and kombu restores it.
        """
        if not self.try_put_back(request):
            self._run(request)

    def put_back_together(self, requests: Sequence[Any]) -> None:
        """Returns messages to their queues, the last one to be the next one out; what Redis refuses runs.

        Raises:
            connection_errors: The messages stay unacknowledged, and kombu restores them.
        """
        try:
            requests = put_back_together(self.channel, requests)
        except self.connection_errors:
            raise
        except Exception:  # a Redis without scripts, for one
            logger.exception("opsdash could not put messages back in one step, so it goes one by one")
            requests = [request for request in requests if not request.acknowledged]
        for request in requests:
            self.put_back(request)

    def try_put_back(self, request: Any) -> bool:
        """Returns the message to its queue; False when Redis refuses that, and whoever called must run the task.

        Raises:
            connection_errors: The message stays unacknowledged, and kombu restores it.
        """
        try:
            celery_private.put_back(self.channel, request)
        except self.connection_errors:
            raise
        except Exception:  # the message must not be lost, whatever went wrong
            logger.exception("opsdash could not put %s back into its queue, so it runs although paused", request)
            return False
        return True

    def _run(self, request: Any) -> None:
        if self.closed and self.exempt is not None:
            self.exempt(request)
        self._pass_on(request)

    def set(self, state: PauseState) -> None:
        """Takes a new state; from now on no held task passes. Call with ``lock`` held."""
        if self.pausing != READY or state == self.state:
            return  # an equal state keeps its identity: what was applied stays applied
        old = self.state
        self._take(state)
        if (old.everything, old.queues) != (state.everything, state.queues):
            logger.warning("opsdash: %s", state)

    def hint(self, field: str) -> None:
        """Closes at once on a nudge's word; the flags are read right after and have the last one."""
        with self.lock:
            if field == EVERYTHING:
                self.set(dataclasses.replace(self.state, everything=True))
            elif field in self.state.known:
                self.set(dataclasses.replace(self.state, queues=self.state.queues | {field}))

    def give_up(self, reason: str) -> None:
        """Opens for good: this worker can't pause, and its health says why."""
        with self.lock:
            self.pausing = reason
            self._take(PauseState())
            self.applied = self.state

    def _take(self, state: PauseState) -> None:
        self.state = state
        self.closed = state.closed or bool(state.error)
        if self.show is not None:
            self.show(state)

    def health(self) -> str:
        """``ready``, or why this worker can't pause."""
        if self.pausing == READY and self.state.error:
            return f"the pause flag can't be read, so tasks run: {self.state.error}"
        return self.pausing
