"""Concurrency limits: so many tasks of a name run at once in all workers together; the others wait where held ones do.

A task that has a slot passes. Any other is set aside, as by a hold, and comes back into this or another worker when a
slot is free: in the order of its queue, with no place taken in a worker meanwhile. While slots suffice nothing is asked
per task; tasks of other names cost a look into a dict.

A task that several limits match needs a slot of each. It waits for one limit after the other, the oldest first, and
never goes back to one that it has waited for: else two that have none free would pass it to and fro.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import partial
from typing import Any

from celery.utils.log import get_logger
from redis import ResponseError

from opsdash import lua
from opsdash.keys import Keys
from opsdash.model.hold import MOST_AT_ONCE, Hold
from opsdash.worker import celery_private, message_origin, unacked
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error
from opsdash.worker.hold_rules import MOST_NAMES, HoldRules
from opsdash.worker.set_aside import FETCHED
from opsdash.worker.slots import LATER_S, LEASE_S, Ask, Leased, Slots

logger = get_logger(__name__)

IN_TURN = "opsdash_in_turn"
"""Of a message that has waited for a slot: the limit whose slot was taken for it."""
MOST_WORKERS = 10_000
"""Leases of one limit: another one's value in their place has more."""
POLL_S = 2.0
"""Seconds between two looks while there is no limit."""
_LEASE = lua.load(__name__, "slots_lease")
_NEXT = lua.load(__name__, "slots_next")


def lease(
    key: str, lists: Sequence[str], instance: str, keeps: int, asks: int, needs: int, most: int, *, now: str = ""
) -> Callable[[Any], Leased]:
    """One renewal, for a client of Redis. Cost: one script.

    Args:
        now: The time in place of Redis's.
    """
    names, told = (key, *lists), (instance, keeps, asks, needs, most, LEASE_S, MOST_WORKERS, now)

    def run(client: Any) -> Leased:
        at, slots, waiting, *others = client.eval(_LEASE, len(names), *names, *told)
        each = zip(others[::3], others[1::3], others[2::3], strict=True)
        return Leased(
            now_s=float(at),
            slots=int(slots),
            waiting=int(waiting),
            others={_text(name): (int(has), int(needed)) for name, has, needed in each},
        )

    return run


class _Limit:
    """One limit in this worker: its slots, and who has them.

    Attributes:
        running: Requests that have a slot. ``expected``: messages that were fetched for one, and have not begun.
        blocked: The last one that was fetched went back, as another limit had no slot for it.
    """

    def __init__(self, hold: Hold, slots: Slots) -> None:
        self.hold, self.slots = hold, slots
        self.running: set[Any] = set()
        self.expected: list[Any] = []
        self.blocked = False
        self.meets = re.compile(translate(hold.name)).match

    def prune(self) -> None:
        """Slots of what has ended, or went back, without a word are free. Any thread."""
        for request in [one for one in tuple(self.running) if not celery_private.is_reserved(one)]:
            self.ended(request)

    def prune_expected(self) -> None:
        """The same of what was fetched for a slot, and will not begin. Event loop only."""
        self.prune()
        for message in [one for one in self.expected if one.acknowledged]:
            self.came(message)
            self.slots.give()

    def ended(self, request: Any) -> bool:
        """A request has no slot any more; whether it had one."""
        try:
            self.running.remove(request)
        except KeyError:
            return False
        self.slots.give()
        return True

    def came(self, message: Any) -> bool:
        """A message is not expected any more; whether it was."""
        before = len(self.expected)
        self.expected = [one for one in self.expected if one is not message]
        return len(self.expected) < before


class ConcurrencyLimits:
    """Applies the limits that are kept in Redis.

    Attributes:
        error: Why Redis lets no slot be leased; tasks run without a limit then.
    """

    def __init__(self, consumer: Any, gate: Any, instance: str, soon: Callable[..., Any]) -> None:
        self._consumer, self._gate, self._instance, self._soon = consumer, gate, instance, soon
        self._limits: dict[str, _Limit] = {}
        self._known: dict[str, tuple[_Limit, ...]] = {}
        self._beginning = self._filling = False
        self.error = ""

    def used(self) -> dict[str, int]:
        """Limit → tasks of it that run here, or are about to."""
        return {one: limit.slots.used for one, limit in tuple(self._limits.items())}

    @property
    def waits(self) -> bool:
        """Tasks wait for a slot, as far as this worker knows."""
        return any(limit.slots.waiting for limit in tuple(self._limits.values()))

    def apply(self, rules: HoldRules, pass_again: Callable[[Callable[[Any], Any]], None]) -> None:
        """Follows the rules. Event loop only.

        Args:
            pass_again: Has what was handed to the pool, and has not begun, come through the gate again.
        """
        was = [
            (limit.hold.name, limit.hold.most) for limit in self._limits.values()
        ]  # those that stay are changed below
        before, self._limits = self._limits, {}
        for hold in rules.limits:
            limit = before.get(hold.id) or _Limit(hold, Slots(self._instance, hold.most, self._size))
            limit.hold, limit.slots.most = hold, hold.most
            self._limits[hold.id] = limit
        self._known = {}
        self._gate.limits = self if self._limits else None
        now = [(hold.name, hold.most) for hold in rules.limits]
        # A worker's log says each change of what it keeps to, also of a number alone.
        if was != now:
            told = ", ".join(f"{name} {most}" for name, most in now)
            logger.info("opsdash: running at once in all workers, at most: %s", told or "no limit")
        begun = [limit for one, limit in self._limits.items() if one not in before]
        if begun:
            self._begin(begun, pass_again)

    def _begin(self, begun: Iterable[_Limit], pass_again: Callable[[Callable[[Any], Any]], None]) -> None:
        self._beginning = True
        try:
            pass_again(lambda request: any(limit in begun for limit in self._of(request)))
        finally:
            self._beginning = False
        for request in celery_private.reserved():
            for limit in self._of(request):
                if limit in begun and request not in limit.running and message_origin.of(request.message) is not None:
                    limit.slots.run()
                    limit.running.add(request)

    def reconnected(self) -> None:
        """Messages of the connection before are no longer this worker's. Event loop only."""
        for limit in self._limits.values():
            for message in limit.expected:
                if not message.acknowledged:
                    limit.slots.give()
            limit.expected = []

    def short_of(self, request: Any) -> str:
        """Gives a request its slots; else the id of a limit that has none free. Event loop only.

        Cost: no round trip while there are some.
        """
        limits = self._of(request)
        if not limits or self.error or message_origin.of(request.message) is None:
            return ""
        in_turn = getattr(request.message, IN_TURN, "")
        turn = next((number for number, limit in enumerate(limits) if limit.hold.id == in_turn), -1)
        taken: list[_Limit] = []
        for number, limit in enumerate(limits):
            if not self._take(limit, request, waited=number <= turn):
                for one in taken:
                    one.slots.give()
                return limits[max(number, turn)].hold.id
            taken.append(limit)
        self._begins(request, taken)
        return ""

    def note(self, request: Any, short: str, *, runs: bool) -> None:
        """It waits for a slot of this limit; or could not be set aside, and runs without one. Event loop only."""
        limits = self._of(request)
        if not runs:
            for limit in limits:
                if limit.hold.id == short:
                    limit.slots.waiting += 1
                    limit.blocked = getattr(request.message, IN_TURN, "") == short
            return
        for limit in limits:
            limit.slots.run()
        self._begins(request, limits)

    def _begins(self, request: Any, limits: Iterable[_Limit]) -> None:
        for limit in limits:
            limit.running.add(request)
        celery_private.watch_end(request, self._ended)

    def _take(self, limit: _Limit, request: Any, *, waited: bool) -> bool:
        if limit.expected and limit.came(request.message):
            return True
        if limit.slots.waiting and not waited:
            self._fill_soon()
            return False
        if limit.slots.take():
            return True
        limit.prune_expected()
        if limit.slots.take():
            return True
        if self._beginning or not limit.slots.may_ask():
            return False
        self._renew(limit, unacked.client_of(self._gate.channel), self._keys())
        return bool(self.error) or ((not limit.slots.waiting or waited) and limit.slots.take())

    def _ended(self, request: Any) -> None:
        """Any thread."""
        freed = [limit for limit in tuple(self._limits.values()) if limit.ended(request)]
        if freed and self.waits:  # maybe for a slot of another limit, and had none of this one
            self._fill_soon()

    def _fill_soon(self) -> None:
        if not self._filling:
            self._filling = True
            self._soon(self._fill)

    def _fill(self) -> None:
        """Fetches one of the tasks that wait, for each limit that has a slot free. Event loop only.

        The newest limit first: what waits for it has waited for older ones before.
        """
        self._filling = False
        again = False
        for limit in reversed(tuple(self._limits.values())):
            limit.prune_expected()
            if limit.slots.waiting and not celery_private.stopping(self._consumer) and limit.slots.take():
                try:
                    again = self._fetch(limit) or again
                except self._gate.connection_errors:
                    raise
                except Exception:  # a fault of ours must not end the event loop
                    logger.exception("opsdash: a task that waits for a slot could not be fetched")
        if again:
            self._fill_soon()

    def _fetch(self, limit: _Limit) -> bool:
        """Fetches the next one, with the slot that was taken for it; whether there may be another one to fetch."""
        channel, keys = self._gate.channel, self._keys()
        places = self._places(limit, keys)
        names = [*unacked.unacked_keys(channel), keys.hold, *(name for _, _, name in places)]
        expected: list[Any] = []
        fetched, limit.blocked = "", False

        def note(message: Any) -> None:
            setattr(message, IN_TURN, limit.hold.id)
            setattr(message, FETCHED, fetched)
            expected.append(message)
            limit.expected.append(message)

        try:
            waiting, *found = unacked.client_of(channel).eval(
                _NEXT, len(names), *names, limit.hold.id, *(part for step, queue, _ in places for part in (step, queue))
            )
            limit.slots.waiting = int(waiting)
            if found:
                step, queue, _ = places[int(found[0])]
                place = message_origin.Origin(queue, self._list(channel, queue, step), found[1])
                fetched = _text(found[3])
                self._gate.fetches.deliver(place, _text(found[2]), note)
        finally:
            if not expected:
                limit.slots.give()
        return bool(found) and not limit.blocked

    def _places(self, limit: _Limit, keys: Keys) -> list[tuple[str, str, str]]:
        """Priority step, queue and list of each place where tasks may wait that this worker may run now."""
        state, steps = self._gate.state, [str(step) for step in getattr(self._gate.channel, "priority_steps", (0,))]
        queues = [queue for queue in celery_private.consumed_queues(self._consumer) if not state.holds(queue)]
        return [(step, queue, keys.held(limit.hold.id, step, queue)) for queue in queues for step in steps]

    @staticmethod
    def _list(channel: Any, queue: str, step: str) -> str:
        return f"{channel.global_keyprefix or ''}{channel._q_for_pri(queue, int(step))}"

    def follow(self, link: Link) -> float:
        """Renews the leases. In the listener's thread. Returns the seconds until it should be done again.

        Raises:
            LINK_ERRORS: Redis doesn't answer: what is leased holds until it ends.
        """
        again_s = POLL_S
        for limit in tuple(self._limits.values()):
            limit.prune()
            client = link.redis  # the client first: it learns the key prefix
            again_s = min(again_s, self._renew(limit, client, link.keys))
            if limit.slots.waiting and (limit.slots.free or limit.expected):
                self._fill_soon()
        return again_s

    def close(self, link: Link) -> None:
        """The worker ends: others may have its slots at once, if nothing of it runs any more."""
        for limit in tuple(self._limits.values()):
            limit.prune()
            if not limit.slots.used:
                lease(link.keys.slots(limit.hold.id), (), self._instance, 0, 0, 0, limit.hold.most)(link.redis)

    def _renew(self, limit: _Limit, client: Any, keys: Keys) -> float:
        ask: Ask = partial(self._ask, limit, client, keys)
        try:
            again_s = limit.slots.renew(ask)
        except LINK_ERRORS as error:
            if not isinstance(error, ResponseError):
                raise
            if not self.error:
                logger.error("opsdash: concurrency limits can't be followed: %s", describe_error(error))
            self.error = describe_error(error)
            return LATER_S
        if self.error:
            logger.warning("opsdash: concurrency limits can be followed again")
        self.error = ""
        return again_s

    def _ask(self, limit: _Limit, client: Any, keys: Keys, keeps: int, asks: int, needs: int) -> Leased:
        lists = [name for _, _, name in self._places(limit, keys)]
        key = keys.slots(limit.hold.id)
        return lease(key, lists, self._instance, keeps, asks, needs, limit.hold.most)(client)

    def _of(self, request: Any) -> tuple[_Limit, ...]:
        name = request.name
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            found = self._known[name] = tuple(limit for limit in self._limits.values() if limit.meets(name))
        return found

    def _keys(self) -> Keys:
        return Keys(self._gate.channel.global_keyprefix or "")

    def _size(self) -> int:
        """Tasks that may be handed to the pool: those that wait there for a process have their slot already."""
        fetched = getattr(getattr(self._consumer, "qos", None), "value", 0) or MOST_AT_ONCE
        return max(int(self._consumer.pool.num_processes or 1), int(fetched))


def _text(value: Any) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
