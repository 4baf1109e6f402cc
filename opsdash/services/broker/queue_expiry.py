"""What a console does for queues declared with ``expires``: while no worker lives, it alone keeps paused ones."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import redis

from opsdash import lua
from opsdash.model import untrusted
from opsdash.model.queue_expiry import AGAIN_S, MOST_DIGITS, RECONCILE, Reconciled, arguments, parsed
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker

log = logging.getLogger(__name__)

_SUSPEND = lua.load(__name__, "queue_expiry_suspend")


def add_reconcile(broker: Broker, pipe: Any, queues: Iterable[str]) -> None:
    """Queues, on a pipeline or a client, what suspends and gives back expiries. Cost: see ``reconcile``."""
    suffixes = [f"{broker.separator}{step}" if step else "" for step in broker.priority_steps]
    pipe.eval(RECONCILE, *arguments(broker.keys, dict.fromkeys(queues), suffixes))


def reconcile(broker: Broker, queues: Iterable[str]) -> Reconciled:
    """Suspends the expiry of what is paused or moved, and gives back that of what is not any more.

    Queues that workers report as declared with ``expires`` are included. Errors are logged:
    every worker and console does the same, so another one repeats it a moment later.

    Cost: one script, two commands per queue and five per priority list of those that are held.
    """
    with broker.client.pipeline(transaction=False) as pipe:
        add_reconcile(broker, pipe, queues)
        try:
            (reply,) = pipe.execute(raise_on_error=False)
        except redis.RedisError as error:
            reply = error
    return answer(reply)


def answer(reply: Any) -> Reconciled:
    """The reply to ``add_reconcile``; a fault is logged."""
    if isinstance(reply, Exception):
        log.warning("the expiry of paused queues could not be looked after: %s", reply)
        return Reconciled(0, 0)
    return parsed(reply)


def suspended_ms(broker: Broker, lists: Iterable[str]) -> int:
    """The longest expiry that is suspended for these lists, in ms; 0 for none."""
    with broker.reading():
        (notes,) = bounded_reads.fields(broker.client, [broker.keys.expires], list(lists), untrusted.LONG)
    return max((_ms((text or "").partition(":")[0]) for text in notes.values()), default=0)


def suspend(broker: Broker, queue: str, lists: Iterable[str], info: Mapping[str, str]) -> None:
    """Stores the expiry beside a queue's trash as suspended: lists restored from the trash get it.

    Args:
        info: Of the trash: its ``expires_ms``.
    """
    if not (ms := _ms(info.get("expires_ms", ""))):
        return
    broker.client.eval(_SUSPEND, 1, broker.keys.expires, str(ms), queue, *lists)


def _ms(text: str) -> int:
    return int(text) if 0 < len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else 0


class ExpiryKeeper:
    """Updates expiries between snapshots too, if these are too far apart for the shortest expiry. For one thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queues: tuple[str, ...] = ()
        self._needed = False
        self._due_s = math.inf  # monotonic

    def look(self, queues: tuple[str, ...], *, needed: bool) -> None:
        """After each read of the flags: updates when something is paused or suspended."""
        self._queues, self._needed = queues, needed
        self._due_s = time.monotonic() + (reconcile(self._broker, queues).again_s if needed else AGAIN_S)

    def again_s(self) -> float:
        """Updates if it is due. Returns the seconds until it is due again.

        Cost: while nothing was held at the last look, one EXISTS every ``AGAIN_S``: another one may have paused.
        """
        if time.monotonic() >= self._due_s:
            self.look(self._queues, needed=self._needed or self._something_is_suspended())
        return max(0.0, self._due_s - time.monotonic())

    def _something_is_suspended(self) -> bool:
        keys = self._broker.keys
        flags = (keys.pause(queue) for queue in (None, *self._queues))
        try:
            return bool(self._broker.client.exists(keys.expires, *flags))
        except redis.RedisError:  # the next snapshot says what is wrong
            return False
