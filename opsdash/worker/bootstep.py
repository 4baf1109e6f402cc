"""The bootstep: ties gate, recall, flags and health to the life of a worker's consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger

import opsdash
from opsdash.worker import (
    celery_private,
    control,
    drain_state,
    hold_release,
    message_origin,
    queue_expiry,
    requeue,
)
from opsdash.worker.concurrency_limits import ConcurrencyLimits
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error
from opsdash.worker.failures.ended import unreadable
from opsdash.worker.failures.plugin import Failures
from opsdash.worker.gate import READY, Gate, PauseState
from opsdash.worker.health import Health
from opsdash.worker.local_server import LocalServer
from opsdash.worker.rate_limits import RateLimits
from opsdash.worker.recall import Recall
from opsdash.worker.waker import Waker
from opsdash.worker.watcher import FlagWatch

logger = get_logger(__name__)

DRAIN_AGAIN_S = 1.0
"""While a drain is asked for: how often the event loop is asked to put back what it still holds."""


class PauseStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Lets an operator pause this worker without losing a task.

    Celery makes one per worker and calls ``start`` at every (re)connection, after the task consumer exists and before
    it consumes. Whatever goes wrong here, the worker works on and says that it can't be paused.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    label = "opsdash"

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._watch: FlagWatch | None = None
        self._recall: Recall | None = None
        self._tick_requested = False
        self._waker: Waker | None = None
        self._applying = threading.RLock()
        self._logged_active = False
        self._connected = self._drain_applied = False
        self._drain_again = 0.0
        transport = consumer.app.connection_for_read().transport
        self.enabled = transport.driver_type == "redis"
        if not self.enabled:
            logger.warning(
                "opsdash: not active, this worker can't be paused: its broker is %s, and opsdash needs Redis",
                transport.driver_name,
            )
            return
        self._failures = Failures(consumer)
        self.gate = Gate(self._failures.pass_on, consumer.connection_errors)
        self.health = Health(consumer, self.gate)
        self._failures.begin(self.gate, self.health.identity)
        self.health.on_ended = self._failures.note
        self._rates = self.health.rates = RateLimits(consumer, consumer.hostname, self._soon)
        self._limits = ConcurrencyLimits(consumer, self.gate, self.health.identity.instance, self._soon)
        self.health.limited = self._limits.used
        self._guard: Any = None
        try:
            self._guard = celery_private.guard(consumer)
        except Exception:  # a worker that can't be paused is better than none
            logger.exception("opsdash: could not start; this worker works on and can't be paused")
            self.gate.give_up("the plug-in failed at start; the worker's log says why")
        if self._guard is not None:
            self.gate.show = self._show
        self._server = LocalServer(self.health.identity.instance, self._facts, self._drain)
        # Tasks.start, which comes after this, hands it to every task's strategy.
        consumer.on_task_request = self.gate.on_task_request

    def start(self, consumer: Any) -> None:
        """Reads the flags before the first message is fetched, then follows them."""
        if self._watch is not None:
            self._watch.stop()
        self._watch = FlagWatch(
            Link(consumer.app),
            self.gate,
            self.health,
            queues=lambda: celery_private.consumed_queues(consumer),
            on_change=self._request_apply,
            request_tick=self._request_tick,
            reconcile_expiries=partial(queue_expiry.reconcile, consumer),
            release_holds=hold_release.release_ended,
            follow=self._follow,
        )
        self.gate.recheck = self._watch.recheck
        if self.gate.pausing == READY:
            try:
                self._close_the_gate_if_paused(consumer, self._watch)
            except Exception:  # a worker that can't be paused is better than none
                logger.exception("opsdash: could not start; this worker works on and can't be paused")
                self.gate.give_up("the plug-in failed at start; the worker's log says why")
        self._watch.start()
        self._connected = True
        self.health.tick()  # the loop comes next; it may have waited for the broker a long time
        self._server.open()

    def stop(self, consumer: Any) -> None:
        """The connection is lost, or the worker stops: until ``start`` comes again nothing is fetched."""
        self._connected = False

    def _close_the_gate_if_paused(self, consumer: Any, watch: FlagWatch) -> None:
        gate, channel = self.gate, consumer.task_consumer.channel
        lost = celery_private.missing(consumer)
        if lost:
            logger.error("opsdash: this worker can't be paused; this version of Celery has no %s", lost)
            gate.give_up(f"this version of Celery has no {lost}")
            return
        if refusal := requeue.refused(channel):
            gate.give_up(f"Redis refuses the script that gives tasks back: {refusal}")
            logger.error("opsdash: this worker can't be paused: %s", gate.pausing)
            return
        gate.channel = channel
        self._limits.reconnected()
        gate.fetches = message_origin.Fetches(channel)
        gate.fetches.on_unreadable = self._keep_unreadable
        requeue.replace_restore(channel)
        if self._recall is None:
            self._recall = Recall(consumer, gate, lambda request: self._soon(gate.put_back, request))
            control.recalls[consumer] = self._recall
            if self._guard is not None:
                self._guard.listen(lambda request: self._soon(gate.take_back, request))
                gate.exempt = self._guard.exempt
        celery_private.replace_queue_cycle(channel, self._fetchable)
        if celery_private.is_green(consumer.pool):
            self._usable_waker().listen_in_green_loop(consumer)
        watch.read_now()
        self._apply()
        if not self._logged_active:
            self._logged_active = True
            logger.info(
                "opsdash %s is active: this worker can be paused (pool %s, queues %s)",
                opsdash.__version__,
                celery_private.pool_name(consumer.pool),
                ", ".join(sorted(celery_private.consumed_queues(consumer))) or "none",
            )

    def _keep_unreadable(self, place: message_origin.Origin, error: Exception, message: Any) -> bool:
        """What was fetched is no task. Event loop only. Returns whether it is kept as a failed one."""
        if self._failures.keeps:
            logger.error("opsdash: a message from %s can't be read: %s", place.list, describe_error(error))
            self.health.heed(unreadable(place, error, message))
        return self._failures.keeps

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Lets other threads wake the event loop."""
        self._usable_waker().listen_in_hub(hub)

    def shutdown(self, consumer: Any) -> None:
        """Takes the worker off the list. Celery calls it when the pool has been stopped, warmly or coldly."""
        if self._watch is not None:
            self._watch.retire()
        if self.enabled:
            self._give_slots_back()
            self._failures.close()
            self._server.close()

    def _give_slots_back(self) -> None:
        link = Link(self._consumer.app)
        try:
            self._limits.close(link)
        except LINK_ERRORS as error:
            logger.info("opsdash: slots of concurrency limits are free in some seconds: %s", describe_error(error))
        finally:
            link.close()

    def _follow(self, link: Link) -> float:
        """From the listener's thread: what else operators have set."""
        self._rates.follow(link)
        return self._limits.follow(link)

    def info(self, consumer: Any) -> dict[str, Any]:
        """What ``celery inspect stats`` shows."""
        state = self.gate.applied
        return {
            "opsdash": {
                "pausing": self.gate.health(),
                "paused": state.everything,
                "paused_queues": sorted(state.queues),
                "draining": state.draining,
                "epoch": state.epoch,
                **celery_private.pool_facts(consumer),
                "holds": state.rules.ids,
            }
        }

    def _fetchable(self, active: list[str]) -> list[str]:
        """The queues to send BRPOP for. Event loop only."""
        if self.gate.pausing != READY:
            return active
        if not self.gate.state.known.issuperset(active) and self._watch is not None and self._watch.read_now():
            self._request_apply()  # a queue was added to a running worker: not a message before its flag is known
        state = self.gate.state
        return [queue for queue in active if not state.holds(queue)]

    def _request_apply(self) -> None:
        """From any thread: lets the event loop act on the gate's state."""
        pool = self._consumer.pool
        if celery_private.is_green(pool):
            self._apply_beside_the_loop()
            return
        if celery_private.pool_name(pool) == "solo":
            # A task runs in the loop itself: while it does nothing else starts, and the next one meets the gate.
            self.gate.applied = self.gate.state
        self._soon(self._apply)

    def _apply_beside_the_loop(self) -> None:
        """Green pools: acts at once. The loop, in the same thread, may be blocked until a greenlet has ended."""
        try:
            self._apply()
        except self.gate.connection_errors as error:
            logger.warning(
                "opsdash: the connection broke while a pause was being applied, so it is again: %s",
                describe_error(error),
            )
            self._soon(self._apply)
        self._wake()

    def _apply(self) -> None:
        """Acts on the gate's state. Event loop only, or a greenlet beside it: one at a time, the newest state last."""
        with self._applying:
            self._apply_now()

    def _apply_now(self) -> None:
        gate, state = self.gate, self.gate.state
        if gate.pausing != READY or self._recall is None:
            return
        try:
            celery_private.update_queue_cycle(gate.channel)
            if self._waker is not None:
                self._waker.listen(state.stops_queues or bool(state.rules.limits))
            if state.closed:
                self._recall.run()
            self._limits.apply(state.rules, self._recall.pass_again)
            if self._guard is not None:
                self._guard.recall(celery_private.unstarted(gate.sets_aside) if state.rules.strict else ())
            if state.draining:
                self._recall.run_scheduled()
        except gate.connection_errors:
            raise  # Celery reconnects, kombu restores what is unacknowledged, and start() comes again
        except Exception:  # a fault of ours must not end the event loop
            logger.exception("opsdash: could not apply the pause; this worker works on and can't be paused")
            gate.give_up("applying a pause failed; the worker's log says why")
            celery_private.update_queue_cycle(gate.channel)
            return
        gate.applied, self._drain_applied = state, state.draining

    def _drain(self, on: bool) -> None:
        """From the local server's thread: takes no more tasks and puts back unstarted ones, or takes tasks again."""
        changed, now = self.gate.drain(on), time.monotonic()
        if changed or (on and now >= self._drain_again):  # what Redis refused a moment ago it may take now
            self._drain_again = now + DRAIN_AGAIN_S
            self._request_apply()

    def _facts(self) -> dict[str, Any]:
        """From the local server's thread: the answer for the container's commands."""
        self._request_tick()
        return drain_state.facts(
            self._consumer,
            self.gate,
            self.health,
            self._watch,
            connected=self._connected,
            applied=self._drain_applied,
        )

    def _show(self, state: PauseState) -> None:
        """From any thread: tells prefork's children what is paused."""
        self._guard.shared.show(state.holds_all, state.queues)

    def _request_tick(self) -> None:
        """From any thread: lets the event loop note that it turns. A stuck loop piles up one request, not hundreds."""
        if not self._tick_requested:
            self._tick_requested = True
            self._soon(self._tick)

    def _tick(self) -> None:
        self._tick_requested = False
        self.health.tick()

    def _usable_waker(self) -> Waker:
        if self._waker is None or not self._waker.usable:
            self._waker = Waker()
        return self._waker

    def _soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._consumer.call_soon(callback, *args)
        self._wake()

    def _wake(self) -> None:
        if self._waker is not None:
            self._waker.wake()
