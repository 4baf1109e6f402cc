"""A worker's lease of a concurrency limit's slots: so many of its tasks it may run at once.

Slots are leased in blocks and for seconds, and renewed while they are used: between two renewals a task that starts or
ends costs no command. A worker that ends, is killed or cut off renews nothing: its slots are free after ``LEASE_S``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from opsdash.model.fair_shares import fair_shares

LEASE_S = 10
"""How long a lease holds that is not renewed."""
IDLE_S = 3.0
"""For so long a worker counts as in need of the most slots that it has used."""
TURN_S = 10.0
"""For so long a worker keeps a slot where more workers need one than there are."""
SOON_S, LATER_S = 0.5, 1.0
"""Until the next renewal of a worker that waits for slots, or has some to give back; of any other."""
ASK_AGAIN_S = 0.25
"""A task that finds no slot asks for more no sooner than this after others had them."""


@dataclass(frozen=True, slots=True)
class Leased:
    """The answer to a renewal.

    Attributes:
        now_s: Redis's time. ``slots``: what this worker has now. ``waiting``: tasks that wait for a slot.
        others: Instance → slots it has, and needs.
    """

    now_s: float
    slots: int
    waiting: int = 0
    others: Mapping[str, tuple[int, int]] = field(default_factory=dict)


Ask = Callable[[int, int, int], Leased]
"""Renews a lease: how many slots are kept at least, asked for, and needed."""


class Slots:
    """One worker's slots of one limit. Any thread.

    Args:
        most: How many there are in all. ``size``: how many tasks this worker may hand to its pool.

    Attributes:
        used: Tasks that run, or are about to. ``waiting``: tasks that wait for a slot, as far as this worker knows.
    """

    def __init__(
        self, instance: str, most: int, size: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self.used, self.waiting = most, 0, 0
        self._instance, self._size, self._clock = instance, size, clock
        self._lock, self._renewing = threading.Lock(), threading.Lock()
        self._slots = self._share = self._peak = 0
        self._until = self._peak_at = float("-inf")
        self._asked_at = float("-inf")
        self._unmet = False
        self._others: Mapping[str, tuple[int, int]] = {}
        self._now_s = 0.0

    @property
    def free(self) -> int:
        """How many more may start."""
        with self._lock:
            return self._free()

    def take(self) -> bool:
        """One task is about to start; False: there is no slot for it. Cost: no round trip."""
        with self._lock:
            if self._free() < 1:
                self._unmet = True
                return False
            self._use(1)
            return True

    def run(self) -> None:
        """A task runs whether or not there is a slot for it: it began before the limit, or could not be set aside."""
        with self._lock:
            self._use(1)

    def give(self) -> None:
        """A task has ended, or won't begin."""
        with self._lock:
            self.used = max(0, self.used - 1)

    def may_ask(self) -> bool:
        """A task that finds no slot may ask for more at once."""
        return self._clock() >= self._asked_at + ASK_AGAIN_S

    def renew(self, ask: Ask) -> float:
        """Renews the lease, with what this worker needs and may have by now.

        Returns:
            Seconds until it should be renewed again.

        Raises:
            Exception: What ``ask`` raises: the lease there is holds until it ends.
        """
        if not self._renewing.acquire(blocking=False):
            return SOON_S  # another thread does just that
        try:
            with self._lock:
                at = self._clock()
                need = self._need(at)
                share = self._own_share(need)
                if at >= self._until:
                    self._slots = 0
                # Until the answer is here no more start than are kept whatever it says.
                keeps = max(self.used, min(self._slots, share))
                self._share = min(self._slots, share)
            leased = ask(keeps, share, need)
            with self._lock:
                self._until = at + LEASE_S
                if leased.slots < need:  # others have them
                    self._asked_at = self._clock()
                self._slots, self.waiting, self._unmet = leased.slots, leased.waiting, False
                self._now_s, self._others = leased.now_s, leased.others
                self._share = share = self._own_share(need if not leased.waiting else self._reach())
                if max(self.used, share) < self._slots or (leased.waiting and self._slots < share):
                    return SOON_S
                return LATER_S
        finally:
            self._renewing.release()

    def _free(self) -> int:
        return min(self._slots, self._share) - self.used if self._clock() < self._until else 0

    def _use(self, number: int) -> None:
        self.used += number
        if self.used >= self._peak:
            self._peak, self._peak_at = self.used, self._clock()

    def _need(self, at: float) -> int:
        if self.used >= self._peak or at > self._peak_at + IDLE_S:
            self._peak, self._peak_at = self.used, at
        return self._reach() if self.waiting or self._unmet else self._peak

    def _reach(self) -> int:
        return max(0, min(self.most, self._size()))

    def _own_share(self, need: int) -> int:
        """What it may have: what is fair, and of what nobody needs an equal part."""
        if not need:
            return 0
        needs = {name: needed for name, (_, needed) in self._others.items()} | {self._instance: need}
        shares = fair_shares(self.most, needs, int(self._now_s // TURN_S))
        left, among = self.most - sum(shares.values()), sum(need > 0 for need in needs.values())
        return min(self._reach(), shares[self._instance] + -(-left // among))
