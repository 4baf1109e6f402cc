"""The gate every task passes on its way to the pool.

Open it costs one attribute test, and one count in a dict for the charts: about 0.1 µs. Closed it puts messages back.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from celery.utils.log import get_logger

from opsdash.keys import EVERYTHING
from opsdash.model.hold import LONGEST_LIST
from opsdash.worker import message_origin
from opsdash.worker.concurrency_limits import ConcurrencyLimits
from opsdash.worker.connection import describe_error
from opsdash.worker.hold_rules import NONE, HoldRules
from opsdash.worker.requeue import PutBack, copy_back, put_back
from opsdash.worker.set_aside import Held, copy_aside, set_aside

logger = get_logger(__name__)

READY = "ready"
TOO_LONG = f"tasks of a queue whose name has more than {LONGEST_LIST} bytes are not held"
OVER = "opsdash_hold_over"
"""Of a message whose hold is over, or that Redis does not let be set aside: the rules that still held it then."""
MOST_COUNTED = 1_000
"""Queues whose started tasks are counted and reported: a client that can add consumers can invent names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseState:
    """What the flags said when they were last read.

    Attributes:
        queues: Queues with their own pause.
        epoch: The pause counter; None when the flags could not be read.
        known: Queues whose flags were read.
        error: Why the flags could not be read; tasks run then.
        suspended: The expiry of some queue is suspended: a pause keeps it so, or a worker or console must restore it.
        draining: This worker alone takes no more tasks, whatever the flags say: it is about to be stopped.
        rules: Which tasks are set aside as they come, while all others run.
    """

    everything: bool = False
    queues: frozenset[str] = frozenset()
    epoch: int | None = None
    known: frozenset[str] = frozenset()
    error: str = ""
    suspended: bool = field(default=False, compare=False)
    draining: bool = False
    rules: HoldRules = NONE

    @property
    def paused(self) -> bool:
        """Some flag is set."""
        return self.everything or bool(self.queues)

    @property
    def closed(self) -> bool:
        """Each task has to be looked at: something is paused or held, or this worker is being drained."""
        return self.stops_queues or self.rules.strict

    @property
    def stops_queues(self) -> bool:
        """Some queue is paused, or this worker is being drained."""
        return self.paused or self.draining

    @property
    def holds_all(self) -> bool:
        """No task of any queue starts."""
        return self.everything or self.draining

    def holds(self, queue: str) -> bool:
        """No task of this queue starts."""
        return self.holds_all or queue in self.queues

    def __str__(self) -> str:
        """For the log."""
        if self.everything:
            return "all queues are paused"
        return f"paused: {', '.join(sorted(self.queues))}" if self.queues else "nothing is paused"


class Gate:
    """Holds the pause state and applies it to single messages.

    ``closed`` is what a running worker tests per task: paused, or nobody knows. ``state`` may change in any
    thread; ``applied`` is the last state the event loop has acted upon, so that nothing held by it starts any more.

    Attributes:
        follow: Is called with each new state, before it counts, with ``lock`` held.
        show: Tells children what is paused. exempt: has them start a request nevertheless. Both for prefork only.
        started: Queue → tasks from it that were handed to the pool.
        fetches: Where the messages of the present connection come from.
        limits: The concurrency limits in force; None: there are none.
        recheck: Reads the flags once more, while they could not be read and tasks run for that reason.
        refused: Why Redis did not let the last held task be set aside; empty: it did.

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
        self.follow: Callable[[PauseState], None] | None = None
        self.show: Callable[[PauseState], None] | None = None
        self.exempt: Callable[[Any], None] | None = None
        self.recheck: Callable[[], None] | None = None
        self.started: defaultdict[str, int] = defaultdict(int)
        self.refused = ""
        self._draining = False
        self.fetches: message_origin.Fetches | None = None
        self.limits: ConcurrencyLimits | None = None
        self._pass_on = pass_on
        # kombu counts KeyError among them; ours would send the worker into endless reconnecting.
        self.connection_errors = tuple(e for e in connection_errors if not issubclass(e, KeyError))

    @property
    def fetching_clients(self) -> list[int] | None:
        """Redis's ids of the connections this worker fetches by; None where that is not known."""
        return None if self.fetches is None else self.fetches.clients

    def on_task_request(self, request: Any) -> Any:
        """Stands in for ``consumer.on_task_request``: direct, rate-limited and ETA tasks all come through here."""
        if self.closed and self.holds(request):
            return self.put_back(request)
        if self.limits is not None and (short := self.limits.short_of(request)):
            return self._wait(request, short)
        if (place := message_origin.of(request.message)) is not None:
            self.started[place.queue] += 1
        return self._pass_on(request)

    def _wait(self, request: Any, limit: str) -> None:
        """Sets a request aside until it has a slot; what Redis refuses, or whose limit is over by now, runs."""
        runs = bool(self._set_aside([Held(request=request, ids=(limit,))]))
        if self.limits is not None:
            self.limits.note(request, limit, runs=runs)
        if runs:
            self._run(request)

    def uncount(self, requests: Sequence[Any]) -> None:
        """These were handed to the pool, and taken back before they started."""
        for request in requests:
            if (place := message_origin.of(request.message)) is not None:
                self.started[place.queue] -= 1

    def started_by_queue(self, consumed: Sequence[str]) -> dict[str, int]:
        """``started``, bounded: queues that are consumed no more go first, and at most ``MOST_COUNTED`` stay."""
        if len(self.started) > MOST_COUNTED:
            for queue in set(self.started).difference(consumed):
                del self.started[queue]
        return dict(islice(self.started.items(), MOST_COUNTED))

    def take_back(self, request: Any) -> None:
        """Answers a child that did not start a request. Event loop only."""
        if self.holds(request):
            self.uncount([request])
            self.put_back(request)
        else:  # a broadcast, or the pause has ended meanwhile
            self._run(request)

    def holds(self, request: Any) -> bool:
        """The request must not start, and its message can be put back, or set aside."""
        return not request.acknowledged and self.stops(request)

    def stops(self, request: Any) -> bool:
        """The queue that the request's message came from is paused, or a hold matches it. Cost: no round trip.

        A broadcast came from none, so nothing pauses it: every worker has its own copy, and there is no list to put it
        back to.
        """
        if self.state.error and self.recheck is not None:  # a message has come, so the flags can be read too
            self.recheck()
        state = self.state
        place = message_origin.of(request.message)
        if place is None:
            return False
        queue = place.queue  # as in `PauseState.holds`: while something is held each task comes by here, three times
        if state.everything or state.draining or queue in state.queues:
            return True
        rules = state.rules
        return bool(rules.strict and rules.of(request, queue) and getattr(request.message, OVER, None) is not rules)

    def sets_aside(self, request: Any) -> tuple[str, ...]:
        """The ids of the holds that match a request whose queue is not paused: a pause comes first."""
        state = self.state
        place = message_origin.of(request.message) if state.rules.strict else None
        if place is None or state.holds(place.queue) or getattr(request.message, OVER, None) is state.rules:
            return ()
        return state.rules.of(request, place.queue)

    def put_back(self, *requests: Any) -> PutBack:
        """Returns messages to their lists, the last one to be the next one out; what Redis refuses runs.

        Those that a hold matches are set aside instead.

        Raises:
            connection_errors: The messages stay unacknowledged, and kombu restores them.
        """
        held = [Held(request=request, ids=ids) for request in reversed(requests) if (ids := self.sets_aside(request))]
        if held:
            for request in self._set_aside(held):
                self._run(request)
            aside = {id(one.request) for one in held}
            requests = tuple(request for request in requests if id(request) not in aside)
            return PutBack(aside=len(held)) + (self.put_back(*requests) if requests else PutBack())
        if (done := self._put_back(requests)) is not None:
            return done
        done = PutBack()
        for request in requests:  # maybe Redis takes the others
            if request.acknowledged:
                continue
            alone = self._put_back([request]) if len(requests) > 1 else None
            if alone is None:
                self._run(request)
            else:
                done += alone
        return done

    def try_put_back(self, request: Any) -> bool:
        """Returns the message to its list, or sets it aside; False when Redis refuses: then the task must run.

        Raises:
            connection_errors: The message stays unacknowledged, and kombu restores it.
        """
        if ids := self.sets_aside(request):
            return not self._set_aside([Held(request=request, ids=ids)])
        return self._put_back([request]) is not None

    def copy_back(self, request: Any) -> bool:
        """The same for an acknowledged message that has not begun: a copy of it goes back. Any thread.

        Raises:
            Exception: Whatever Redis has against it; then the task must run.
        """
        if ids := self.sets_aside(request):
            return copy_aside(self.channel, Held(request=request, ids=ids))
        copy_back(self.channel, request)
        return True

    def _set_aside(self, held: Sequence[Held]) -> list[Any]:
        """The requests that must run: their hold is over by now, or Redis refuses them.

        They are marked: until the rules are read again, no later look may put one behind those that came after it.
        """
        rules = self.state.rules
        left = self._try_set_aside(held)
        for request in left:
            setattr(request.message, OVER, rules)
        return left

    def _try_set_aside(self, held: Sequence[Held]) -> list[Any]:
        try:
            done, left = set_aside(self.channel, held)
        except self.connection_errors:
            raise
        except Exception as error:  # no message may get lost, whatever went wrong
            logger.exception("opsdash could not set %s aside, so it runs although held", held[0].request)
            self.refused = describe_error(error)
            return [one.request for one in held if not one.request.acknowledged]
        self.refused = TOO_LONG if done.get("long") else "Redis takes no more" if done["refused"] else ""
        return left

    def _put_back(self, requests: Sequence[Any]) -> PutBack | None:
        try:
            return put_back(self.channel, requests)
        except self.connection_errors:
            raise
        except Exception:  # no message may get lost, whatever went wrong
            named = f"{requests[0]}" + (f" and {len(requests) - 1} more" if len(requests) > 1 else "")
            logger.exception(
                "opsdash could not put %s back into its queue; what can't go back runs although paused", named
            )
            return None

    def _run(self, request: Any) -> None:
        if self.closed and self.exempt is not None:
            self.exempt(request)
        self._pass_on(request)

    def set(self, state: PauseState) -> None:
        """Takes a new state; from now on no held task passes. Call with ``lock`` held."""
        state = dataclasses.replace(state, draining=self._draining)
        if self.pausing != READY or state == self.state:
            return  # an equal state keeps its identity: what was applied stays applied
        old = self.state
        self._take(state)
        if (old.everything, old.queues) != (state.everything, state.queues):
            logger.warning("opsdash: %s", state)
        if old.rules != state.rules:
            if state.rules.error:
                logger.error("opsdash: holds can't be read, so nothing is held: %s", state.rules.error)
            elif old.rules.strict or state.rules.strict:
                logger.warning("opsdash: held as they come: %s", state.rules)

    def drain(self, on: bool) -> bool:
        """Holds every task, or no more than the flags say. Any thread.

        Returns:
            True when the event loop has something to apply.
        """
        with self.lock:
            self._draining = on
            before = self.state
            self.set(before)
            return self.state is not before

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
        if self.follow is not None:
            self.follow(state)
        self.state = state
        self.closed = state.closed or bool(state.error)
        if self.show is not None:
            self.show(state)

    def holding(self) -> str:
        """``ready``, or why this worker can't hold tasks."""
        refused = self.refused or ("" if self.limits is None else self.limits.error)
        return self.state.rules.error or refused or self.health()

    def health(self) -> str:
        """``ready``, or why this worker can't pause."""
        if self.pausing == READY and self.state.error:
            return f"the pause flag can't be read, so tasks run: {self.state.error}"
        return self.pausing
