"""Moving many messages in small steps: one mover per queue, and no step that makes other clients wait."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from opsdash import lua
from opsdash.errors import LOOK_FIRST, Refused, Uncertain
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.queue_expiry import ExpiryKeeper, reconcile

LEASE_S = 10.0
"""A mover that says nothing for so long is gone, and another one may go on. Every step renews it."""
LOST = -1
STEP_S = 0.001
"""What one step may take of Redis, for others wait for it: messages per step follow from it, whatever they weigh."""
FIRST_STEP, LARGEST_STEP = 100, 4_000

_JOIN = lua.load(__name__, "lock_join")
_KEEP = lua.load(__name__, "lock_keep")
_RELEASE = lua.load(__name__, "lock_release")


class Pace:
    """How many messages a step has, so that it takes about ``STEP_S`` of Redis, by Redis's own clock.

    How far away it is does not matter, and what other clients have it do meanwhile as little as possible.
    """

    def __init__(self) -> None:
        self.messages = FIRST_STEP

    def timed(self, step: Callable[[int], Any], most: int | None = None) -> Any:
        """Runs a step of so many messages, ``most`` at most, and learns from how long its scripts took."""
        number = self.messages if most is None else min(self.messages, most)
        with writes.clock() as clock:
            result = step(number)
        fits = int(number * STEP_S / max(clock.s, STEP_S / 4))
        self.messages = min(LARGEST_STEP, max(1, number // 4, min(2 * number, fits)))
        return result


@dataclass(frozen=True, slots=True)
class QueueLock:
    """The right to move one queue's messages, held by one mover at a time.

    Attributes:
        between: Called between two steps: a producer may set a TTL meanwhile, and the moved tasks must not expire.
    """

    broker: Broker
    key: str
    value: str
    between: Callable[[], Any] = lambda: None

    def run(self, script: str, keys: list[str], *args: Any) -> Any:
        """Runs a script that includes ``lock_guard.lua``.

        Raises:
            Refused: The lease was lost before anything was done: this process was away for longer than it lasts.
            Uncertain: It was lost later, when some of the act was done.
        """
        self.between()
        broker = self.broker
        answer = broker.client.eval(script, 1 + len(keys), self.key, *keys, self.value, int(LEASE_S * 1000), *args)
        if answer == LOST:
            raise lost("the queue lock")
        return answer

    def keep(self) -> None:
        """Renews the lease: between the steps of a long look, which moves nothing.

        Raises:
            As `run`.
        """
        with writes.aside():
            self.run(_KEEP, [])

    def join(self, source: str, queue: str, on_progress: Callable[[int], None] = lambda _left: None) -> None:
        """Puts a list's messages where they are next to run, in their order; the queue's own run after them.

        Cost: as many messages are moved as the shorter of two lists has, in steps of about ``STEP_S``.
        """
        pace = Pace()
        while left := pace.timed(lambda step: self.run(_JOIN, [source, queue], step)):
            on_progress(left)


def lost(what: str) -> Refused | Uncertain:
    """The error of an act whose lock another process may have: a refusal only where nothing was written yet."""
    if writes.possible():
        return Uncertain(f"Lost {what}. It may be partly done.", hint=LOOK_FIRST, retry=True)
    return Refused(f"Lost {what}.", hint="Try again.", retry=True)


@contextmanager
def locked(broker: Broker, queue: str, *, by: str, what: str) -> Iterator[QueueLock]:
    """Takes the right to move a queue's messages. Meanwhile the queue does not expire; afterwards it does again.

    Raises:
        Refused: Another operation has it; with user, operation and time.
    """
    at = datetime.now(UTC)
    value = json.dumps({"by": by, "what": what, "at": at.isoformat(), "token": secrets.token_hex(8)})
    key = broker.keys.busy(queue)
    with writes.aside():
        taken = writes.put(broker.client, key, value, ms=int(LEASE_S * 1000), new=True)
    if not taken:
        raise busy(queue, bounded_reads.text(broker.client, key))
    try:
        expiry_keeper = ExpiryKeeper(broker)
        expiry_keeper.look((queue,), needed=True)
        yield QueueLock(broker, key, value, expiry_keeper.again_s)
    finally:
        # It ends by itself; what went wrong is on its way up already.
        with contextlib.suppress(redis.RedisError), writes.aside():
            broker.client.eval(_RELEASE, 1, key, value)
            reconcile(broker, [queue])


def busy(queue: str, value: Any) -> Refused:
    """The refusal of a second operation."""
    holder = untrusted.mapping(untrusted.parsed(value))
    by, what, at = (
        untrusted.words(holder.get("by")),
        untrusted.words(holder.get("what")),
        untrusted.moment(holder.get("at")),
    )
    who = f"{by} ({what}, since {at:%H:%M:%S} UTC)" if by and what and at else "another operation"
    return Refused(f"Queue {queue} is being worked on by {who}.", hint="Try again when that is done.", retry=True)
