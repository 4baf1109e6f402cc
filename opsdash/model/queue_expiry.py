"""Queues declared with ``expires``: their expiry is suspended while they are paused or their messages are moved.

kombu 5.7 gives a queue's lists a TTL when a message is published, and no consumer renews it: a queue that nobody may
fetch from would vanish with its tasks. (Before 5.7 kombu's Redis transport ignores ``expires``.) Workers and consoles
run the same script, as often as they look at the flags. Standard library only: workers load this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opsdash import lua
from opsdash.keys import Keys
from opsdash.values import frozen

AGAIN_S = 2.0
"""Longest time between two runs while something is paused: a producer that publishes sets the TTL again."""
OFTEN = 3
"""Runs per shortest expiry, so that a TTL set right after one is met well before its end."""
LEAST_S = 0.05
UNDECLARED_MS = 60_000
"""Least restored expiry if no worker has reported the declared one: the rest may be too short to start a worker."""
MOST_LISTS = 10_000
"""Lists or queues that are all looked after: a run of the script takes some 20 ms then."""
MOST_DIGITS = 13
"""Of an expiry in ms; one beyond 300 years is none."""

RECONCILE = lua.load(__name__, "reconcile_expiry", UNDECLARED=UNDECLARED_MS, MOST=MOST_LISTS)


@frozen
class Reconciled:
    """What one run found.

    Attributes:
        lists: How many lists have their expiry suspended.
        shortest_ms: The shortest expiry of what is held; 0 when none is known.
    """

    lists: int
    shortest_ms: int

    @property
    def again_s(self) -> float:
        """Within how many seconds it must be run again while something is held."""
        if not self.shortest_ms:
            return AGAIN_S
        return min(AGAIN_S, max(LEAST_S, self.shortest_ms / 1000 / OFTEN))


def arguments(keys: Keys, queues: Mapping[str, int | None], suffixes: Iterable[str]) -> list[Any]:
    """What follows the script in an EVAL.

    Args:
        queues: Queue → its declared expiry in ms: 0 for none, None where it is not known.
        suffixes: What follows a queue's name in the names of its lists, one per priority step.
    """
    ends = list(suffixes)
    declared = (part for queue, ms in queues.items() for part in (queue, "" if ms is None else str(ms)))
    names = (keys.expires, keys.expires_declared, keys.pause(), keys.binding_deadlines)
    return [len(names), *names, keys.pause(""), keys.busy(""), keys.prefix, len(ends), *ends, *declared]


def parsed(reply: Any) -> Reconciled:
    """The script's reply."""
    lists, shortest_ms = reply
    return Reconciled(int(lists), int(shortest_ms))


def declared_ms(value: Any) -> int:
    """An expiry as kombu takes it from ``x-expires``, in ms; 0 for none, and for what is none."""
    try:
        ms = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return ms if 0 < ms < 10**MOST_DIGITS else 0
