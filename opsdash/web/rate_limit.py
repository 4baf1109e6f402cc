"""How often one client may do something."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

MOST_CLIENTS = 10_000


class RateLimit:
    """So many at once, and as many again in each minute, for each client.

    Args:
        per_minute: How many.
        clock: Seconds that only grow.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = per_minute
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> int:
        """Takes one; 0 when there was one, else after how many seconds there is one again. Cost: O(1)."""
        if wait_s := self.wait_s(client):
            return wait_s
        now = self._clock()
        left = self._refilled(client, now)
        if client not in self._left and len(self._left) >= MOST_CLIENTS:
            self._forget(now)
        self._left[client] = (left - 1, now)
        return 0

    def wait_s(self, client: str) -> int:
        """What ``take`` would answer, and takes none."""
        left = self._refilled(client, self._clock())
        return math.ceil((1 - left) * 60 / self._most) if left < 1 else 0

    def used(self, client: str) -> int:
        """How many are taken, and have not come back by the time that went by since."""
        return math.ceil(self._most - self._refilled(client, self._clock()))

    def give_back(self, client: str) -> None:
        """Takes back a ``take`` that did not count after all."""
        now = self._clock()
        self._left[client] = (min(self._most, self._refilled(client, now) + 1), now)

    def _refilled(self, client: str, now: float) -> float:
        left, at = self._left.get(client, (float(self._most), now))
        return min(self._most, left + (now - at) * self._most / 60)

    def _forget(self, now: float) -> None:
        """Drops clients that have a full allowance again; if there is none, the oldest half."""
        kept = {client: known for client, known in self._left.items() if self._refilled(client, now) < self._most}
        if len(kept) >= MOST_CLIENTS:
            kept = dict(sorted(kept.items(), key=lambda item: item[1][1])[MOST_CLIENTS // 2 :])
        self._left = kept
