"""Whose password is checked next: each check takes most of a core, so many sign-ins wait in line."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass

from opsdash.web.rate_limit import RateLimit

CHECKS_AT_ONCE = 2
"""Each costs 32 MB and most of a core for 80 ms."""
MOST_WAITING = 200
"""In all lines together."""
MOST_KNOWN = 1_000
BUSY_S = 5
"""When a client that found the lines full should retry."""


@dataclass(frozen=True, slots=True)
class QueuedLogin:
    """What came of waiting.

    Attributes:
        wait_s: 0: it is this one's turn; else after how many seconds to try again.
        failures: It must wait because of its address's failures, not because of other clients.
    """

    wait_s: int = 0
    failures: bool = False


class LoginQueue:
    """A line for each client address; they are served in turn. Used from one event loop.

    Addresses with a successful sign-in go first, then those with the fewest failures in the last minute. Among equals,
    the longest-waiting and the newest client alternate, so that a new client does not wait for all others. So
    clients with failures wait for those without, and one address never gets more than its turns. A user's name plays
    no part: nobody locks out a name by failing with it.

    Args:
        failures: What one address may fail; a check takes from it, and gives back when the password was right.
    """

    def __init__(self, failures: RateLimit) -> None:
        self._failures = failures
        self._lines: dict[str, deque[asyncio.Future[QueuedLogin]]] = {}
        self._at_work: Counter[str] = Counter()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._newest = True

    def join(self, who: str) -> asyncio.Future[QueuedLogin]:
        """Takes a place in the line; who gives it up cancels it. Cost: as many as there are lines.

        Args:
            who: The client's address, as a limit counts it.
        """
        turn: asyncio.Future[QueuedLogin] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(who, deque()).append(turn)
        self._forget_gone()
        if sum(map(len, self._lines.values())) > MOST_WAITING:
            worst = max(reversed(self._lines), key=lambda line: (*self._rank(line), len(self._lines[line])))
            # Among equals the newest: a client that waits already is not refused because of later ones.
            self._lines[worst].pop().set_result(QueuedLogin(BUSY_S))
        self._serve()
        return turn

    def done(self, who: str, *, right: bool) -> None:
        """A check has ended; the next one begins.

        Args:
            right: The password was right, or could not be looked at: no failure.
        """
        self._at_work -= Counter({who: 1})
        if right:
            self._failures.give_back(who)
            self._known[who] = None
            self._known.move_to_end(who)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        self._serve()

    def _serve(self) -> None:
        self._forget_gone()
        while self._at_work.total() < CHECKS_AT_ONCE:
            for who in [who for who in self._lines if not self._at_work[who]]:
                if wait_s := self._failures.wait_s(who):  # and no check is under way that might give one back
                    for waiting in self._lines.pop(who):
                        waiting.set_result(QueuedLogin(wait_s, failures=True))
            able = [who for who in self._lines if not self._failures.wait_s(who)]
            if not able:
                return
            best = min(map(self._rank, able))
            equals = [who for who in able if self._rank(who) == best]  # in the order they came
            self._newest = not self._newest
            first = equals[-1 if self._newest else 0]
            self._failures.take(first)
            self._at_work[first] += 1
            line = self._lines.pop(first)
            line.popleft().set_result(QueuedLogin())
            if line:
                self._lines[first] = line  # behind its equals

    def _rank(self, who: str) -> tuple[bool, int]:
        return who not in self._known, self._failures.used(who)

    def _forget_gone(self) -> None:
        living = {who: deque(one for one in line if not one.done()) for who, line in self._lines.items()}
        self._lines = {who: line for who, line in living.items() if line}
