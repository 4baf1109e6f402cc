"""Follows the pause flags: one read before the worker consumes, then a thread that hears nudges and reads again."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from celery.utils.log import get_logger
from redis import Redis, ResponseError

from opsdash.keys import EPOCH_DIGITS, epoch_of
from opsdash.model.queue_expiry import AGAIN_S
from opsdash.worker import celery_private, hold_rules
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error
from opsdash.worker.gate import READY, Gate, PauseState
from opsdash.worker.health import Health

logger = get_logger(__name__)

POLL_S = 2.0
"""Longest time between two reads of the flags, and between two reports."""
GRACE_S = 5.0
"""How long the last known state holds while the flags can't be read; then tasks run."""
RETRY_S = 0.5
APPLYING_S = 0.05
DRAINING_S = 0.25
"""While paused: longest time until the end of the last running task is reported."""
LONGEST_NUDGE = 4_096
"""Bytes of a message on the nudges' channel that is looked into: anybody may publish there."""


def read_flags(link: Link, queues: Sequence[str]) -> PauseState:
    """What is paused now: only a flag's existence decides, and no value beside the flags can break the read.

    Cost: one round trip of four commands; two while something is paused. No transaction: a full Redis refuses even
    reads in one.

    Raises:
        LINK_ERRORS: The flags can't be read.
    """
    redis, keys = link.redis, link.keys
    flags = [keys.pause(), *(keys.pause(queue) for queue in queues)]
    with redis.pipeline(transaction=False) as pipe:
        # The epoch first: one that is newer than the flags would confirm a pause that was not seen.
        pipe.getrange(keys.pause_epoch, 0, EPOCH_DIGITS)
        pipe.exists(*flags)
        pipe.exists(keys.expires)
        hold_rules.ask(pipe, keys)
        epoch, found, expires, holds = pipe.execute(raise_on_error=False)
    set_ = _each(redis, flags) if _answered(found) else [0] * len(flags)
    return PauseState(
        everything=bool(set_[0]),
        queues=frozenset(queue for queue, flag in zip(queues, set_[1:], strict=True) if flag),
        # The counter is opsdash's own; a flag that was set by hand works without it, and with nonsense in its place.
        epoch=(epoch_of(epoch) or 0) if isinstance(epoch, bytes | str) else 0,
        known=frozenset(queues),
        suspended=expires == 1,
        rules=hold_rules.answer(holds),
    )


def _each(redis: Redis, flags: Sequence[str]) -> list[Any]:
    with redis.pipeline(transaction=False) as pipe:
        for flag in flags:
            pipe.exists(flag)
        return [_answered(reply) for reply in pipe.execute(raise_on_error=False)]


def _answered(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


class FlagWatch:
    """Keeps the gate true to the flags, and pushes the worker's health, for one broker connection of the worker.

    Every (re)connection makes a new watch with its own connection, so that it follows a failover.

    Args:
        queues: Names the queues this worker consumes.
        on_change: Asks the event loop to apply the gate's state; called in this thread.
        request_tick: Asks the event loop to note that it turns.
        reconcile_expiries: Suspends and restores the expiry of paused queues. Returns the seconds until it
            must run again.
        release_holds: Releases holds that have ended, by their ids.
        follow: Reads what else operators have set, with each turn. Returns the seconds until the next one, at most.

    Attributes:
        turned_at: When it last came round, by the monotonic clock; failed_at: when the broker last gave it no answer,
            or refused something; None: it never did.
    """

    def __init__(
        self,
        link: Link,
        gate: Gate,
        health: Health,
        *,
        queues: Callable[[], list[str]],
        on_change: Callable[[], None],
        request_tick: Callable[[], None],
        reconcile_expiries: Callable[[Link], float] = lambda _link: AGAIN_S,
        release_holds: Callable[[Link, Sequence[str]], None] = lambda _link, _ids: None,
        follow: Callable[[Link], float] = lambda _link: POLL_S,
    ) -> None:
        self._link = link
        self._gate = gate
        self._health = health
        self._queues = queues
        self._on_change = on_change
        self._request_tick = request_tick
        self._reconcile, self._release = reconcile_expiries, release_holds
        self._due: tuple[str, ...] = ()
        self._follow = follow
        self._reading, self._pushing = threading.Lock(), threading.Lock()
        self._stopped = threading.Event()
        self._broken = False
        self._handed = gate.state
        self._reported: PauseState | None = None
        self._failing_since: float | None = None
        self._failure = ""
        self.turned_at = time.monotonic()
        self.failed_at: float | None = None
        self._deaf = self._mute = self._draining = self._leaving = self._unsettled = self._unreachable = False
        self._pid = os.getpid()
        self._suspended = True  # not known yet: the first turn updates expiries, and reports the declared ones
        self._next_read = self._next_report = self._next_recheck = 0.0
        self._pubsub: Any = None
        self._thread = threading.Thread(target=self._run, name="opsdash", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()
        atexit.register(self.leave_at_exit)

    def stop(self) -> None:
        """Ends the watch; it sets nothing and reports nothing any more. The thread goes within ``POLL_S``."""
        with self._gate.lock:
            self._stopped.set()
        atexit.unregister(self.leave_at_exit)

    def retire(self) -> None:
        """Stops, and takes the worker off the list of workers: at once, or when the last of its tasks has ended.

        Call when the pool has been stopped. Cost: one round trip.
        """
        self._leaving = True
        if self._health.may_leave():
            self.leave()

    def leave(self) -> None:
        """Takes the worker off the list, unless that was done or another watch has followed. Cost: one round trip."""
        if self._stopped.is_set():
            return
        self.stop()
        with self._pushing:  # a report that is under way would bring the worker back to the list
            try:
                self._health.remove(self._link)
            except LINK_ERRORS as error:
                logger.warning(
                    "opsdash: this worker stays on the list of workers as silent: %s",
                    describe_error(error),
                )

    def leave_at_exit(self) -> None:
        """The process ends, and with it what ran in its threads. Children that live on are for the list to show."""
        if os.getpid() == self._pid and not celery_private.children_live():
            self.leave()

    def read_now(self) -> bool:
        """Reads the flags and sets the gate; while they can't be read, keeps the last state for a while, then opens.

        Returns:
            True when the event loop has something to apply.
        """
        with self._reading:
            queues = self._queues()
            try:
                state = read_flags(self._link, queues)
            except LINK_ERRORS as error:
                state = self._unreadable(error, queues)
            else:
                if self._failing_since is not None:
                    logger.warning("opsdash: the pause flag can be read again")
                self._failing_since, self._unreachable = None, False
                self._suspended = self._suspended or state.suspended
                self._due = state.rules.due
            with self._gate.lock:
                if self._stopped.is_set():
                    return False
                self._gate.set(state)
            changed, self._handed = state != self._handed, state
            return changed

    def recheck(self) -> None:
        """Reads again, in the event loop, before a task starts only because the flags could not be read."""
        now = time.monotonic()
        if now < self._next_recheck:
            return
        try:
            if self.read_now():
                self._on_change()
        except Exception:  # the event loop calls this: a fault of ours must not end the worker
            logger.exception("opsdash: the pause flag could not be read again")
        self._next_recheck = time.monotonic() + RETRY_S

    def _unreadable(self, error: BaseException, queues: Sequence[str]) -> PauseState:
        now = time.monotonic()
        self._broken, self._unreachable = True, not isinstance(error, ResponseError)
        last = self._gate.state
        if self._failing_since is None:
            self._failing_since, self._failure = now, describe_error(error)
            logger.error(
                "opsdash: the pause flag can't be read (%s); the last known state (%s) stays for %g s, then tasks run",
                self._failure,
                last,
                GRACE_S,
            )
        known = last.epoch is not None
        if known and now - self._failing_since < GRACE_S:
            return last
        if not last.error:
            logger.error("opsdash: the pause flag can't be read, so tasks run (%s)", self._failure)
        return PauseState(known=frozenset(queues), error=self._failure)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._turn()
            except Exception:  # this thread is the worker's only ear: it must outlive any fault
                logger.exception("opsdash: the listener had an error and continues")
                self._stopped.wait(POLL_S)
            self.turned_at = time.monotonic()
            if self._failing_since is not None or self._deaf or self._mute or self._unsettled:
                self.failed_at = self.turned_at
        self._drop_pubsub()
        self._close_link()

    def _turn(self) -> None:
        """Waits for a nudge or for the time to read again; reads; reports."""
        nudge = self._next_nudge()
        if nudge is not None:
            self._heed(nudge)
        if nudge is not None or time.monotonic() >= self._next_read:
            self._next_read = time.monotonic() + POLL_S
            if self._gate.pausing == READY and self.read_now():
                self._on_change()
            if (self._suspended or self._gate.state.paused) and not self._unreachable:
                self._reconcile_expiries()
            if self._due and not self._unreachable:
                self._release_ended()
            if not self._unreachable:
                try:
                    again_s = self._follow(self._link)
                    self._next_read = min(self._next_read, time.monotonic() + again_s)
                except LINK_ERRORS:
                    self._broken = True
        # Within the grace the flags alone are asked: a report that nobody answers would keep the next read waiting.
        if not self._unreachable or self._gate.state.error:
            self._report_if_due()

    def _reconcile_expiries(self) -> None:
        """Paused queues must not expire, and those that are not paused any more must again."""
        try:
            again_s = self._reconcile(self._link)
        except LINK_ERRORS as error:
            if not self._unsettled:
                logger.error("opsdash: the expiry of paused queues can't be suspended: %s", describe_error(error))
            self._unsettled = True
            # What Redis refuses is no broken connection.
            self._broken = self._broken or not isinstance(error, ResponseError)
        else:
            if self._unsettled:
                logger.warning("opsdash: the expiry of paused queues can be suspended again")
            self._unsettled = self._suspended = False
            if self._gate.state.paused:
                self._next_read = min(self._next_read, time.monotonic() + again_s)

    def _release_ended(self) -> None:
        """Holds that have ended, and that no console has released."""
        due, self._due = self._due, ()
        try:
            self._release(self._link, due)
        except LINK_ERRORS as error:
            logger.error("opsdash: a hold that has ended can't be released yet: %s", describe_error(error))
        except Exception:  # a fault of ours must not keep this worker from reporting
            logger.exception("opsdash: a hold that has ended could not be released")

    def _next_nudge(self) -> Any:
        try:
            if self._broken:
                self._drop_pubsub()
                self._close_link()
                self._broken = False
            if self._pubsub is None:
                # The client first: it learns the key prefix that the channel's name carries.
                self._pubsub = self._link.redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._pubsub.subscribe(self._link.keys.nudge)
                self._next_read = 0.0  # a nudge may have come while nobody listened
            message = self._pubsub.get_message(timeout=self._timeout_s())
        except LINK_ERRORS as error:
            if not self._deaf:
                logger.error(
                    "opsdash: nudges can't be heard, a pause may take %g s to arrive: %s", POLL_S, describe_error(error)
                )
            self._deaf = self._broken = True
            self._stopped.wait(RETRY_S)
            return None
        if self._deaf:
            logger.warning("opsdash: nudges can be heard again")
            self._deaf = False
        return message

    def _timeout_s(self) -> float:
        now = time.monotonic()
        due = max(0.0, min(self._next_read, self._next_report) - now)
        if self._gate.applied is not self._reported:
            return 0.0
        if self._draining:
            due = min(due, DRAINING_S)
        # A change that the event loop is about to apply is reported as soon as it has.
        return due if self._gate.applied == self._gate.state else min(due, APPLYING_S)

    def _heed(self, message: dict[str, Any]) -> None:
        """Closes the gate on the nudge's word; whatever it says, the flags are read next."""
        try:
            data = message["data"]
            nudge = json.loads(data) if len(data) <= LONGEST_NUDGE else None
        except (KeyError, TypeError, ValueError, RecursionError):
            return  # anybody may publish; the nudge still means: read now
        if not isinstance(nudge, dict) or nudge.get("paused") is not True or self._stopped.is_set():
            return
        if isinstance(field := nudge.get("field"), str):
            self._gate.hint(field)

    def _report_if_due(self) -> None:
        applied, now = self._gate.applied, time.monotonic()
        drained = self._draining and not self._health.busy()
        if now < self._next_report and applied is self._reported and not drained:
            return
        self._draining = applied.stops_queues and self._health.busy()
        self._reported, self._next_report = applied, now + POLL_S
        if self._leaving and self._health.may_leave():
            self.leave()
            return
        with self._pushing:
            if self._stopped.is_set():
                return
            try:
                self._health.push(self._link)
            except LINK_ERRORS as error:
                # A report that Redis refuses says nothing about the connection, by which nudges are heard.
                self._broken = self._broken or not isinstance(error, redis.ResponseError)
                if not self._mute:
                    logger.error("opsdash: this worker's health can't be pushed: %s", describe_error(error))
                self._mute = True
            else:
                if self._mute:
                    logger.warning("opsdash: this worker's health is pushed again")
                self._mute = False
        self._request_tick()

    def _close_link(self) -> None:
        with self._reading:  # the event loop may be reading the flags by it
            self._link.close()

    def _drop_pubsub(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(*LINK_ERRORS):  # it was broken: that is why it goes
                pubsub.close()
