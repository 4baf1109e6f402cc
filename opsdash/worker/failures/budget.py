"""How many failures one worker keeps in a time: a storm of them must cost neither it nor Redis what they can't bear."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

BURST, RATE_PER_S = 200, 20.0
"""Failures that are kept at once, and in each second from then on."""
SLOW_RATE_PER_S = 2.0
"""The same while the store is full of what is younger than ``YOUNG_S``: a storm would soon have replaced it all."""
YOUNG_S, SLOW_S = 600.0, 60.0
NEW_BURST, NEW_RATE_PER_S = 50, 1.0
"""Of groups that this worker has not seen lately, the first failure is kept beyond that: the storm may hide a second
error, which nobody has seen yet."""
MOST_SEEN = 1_000


class Bucket:
    """Tokens that come at a rate, up to so many."""

    def __init__(self, burst: float, rate_per_s: float, now: float) -> None:
        self.rate_per_s = rate_per_s
        self._burst = self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """One of them, if there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate_per_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Budget:
    """Decides which failures are kept. Cost: below 1 µs. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        now = clock()
        self._all, self._new = Bucket(BURST, RATE_PER_S, now), Bucket(NEW_BURST, NEW_RATE_PER_S, now)
        self._seen: dict[Any, None] = {}
        self._slow_until = 0.0

    def take(self, group: Any) -> bool:
        """A failure of this group is kept."""
        now = self._clock()
        if now >= self._slow_until:
            self._all.rate_per_s = RATE_PER_S
        if self._all.take(now):
            self._saw(group)
            return True
        if group in self._seen or not self._new.take(now):
            return False
        self._saw(group)
        return True

    def slow_down(self) -> None:
        """The store is full of young failures."""
        self._slow_until = self._clock() + SLOW_S
        self._all.rate_per_s = SLOW_RATE_PER_S

    def _saw(self, group: Any) -> None:
        if group not in self._seen:
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            self._seen[group] = None
