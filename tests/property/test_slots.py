"""Leases of a concurrency limit's slots, by the real script with a clock of its own: never too many, nobody starves."""

from __future__ import annotations

from typing import Any

import fakeredis
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from opsdash.worker.concurrency_limits import lease
from opsdash.worker.slots import LEASE_S, TURN_S, Slots

SIZE = 4
MOST_WORKERS = 4
BACK_S = 15
"""Within so many seconds the share of a worker that was killed must be free for others."""


class Fleet(RuleBasedStateMachine):
    """Workers that start tasks when they have a slot, renew, end, and are killed at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.redis: Any = fakeredis.FakeRedis()
        self.now, self.most = 1_000.0, 3
        self.workers: dict[str, Slots] = {}
        self.born = 0

    def renew(self, name: str, waiting: bool) -> None:
        def ask(keeps: int, asks: int, needs: int) -> Any:
            call = lease("slots", [], name, keeps, asks, needs, self.most, now=f"{self.now:.3f}")
            found = call(self.redis)
            self.redis.persist("slots")  # Redis's own clock goes on meanwhile
            return type(found)(found.now_s, found.slots, int(waiting), found.others)

        self.workers[name].renew(ask)

    @precondition(lambda self: len(self.workers) < MOST_WORKERS)
    @rule()
    def a_worker_starts(self) -> None:
        self.born += 1
        name = f"w{self.born}"
        self.workers[name] = Slots(name, self.most, lambda: SIZE, clock=lambda: self.now)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), waiting=st.booleans())
    def a_worker_renews(self, data: st.DataObject, waiting: bool) -> None:
        self.renew(data.draw(st.sampled_from(sorted(self.workers))), waiting)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), number=st.integers(1, SIZE))
    def tasks_come(self, data: st.DataObject, number: int) -> None:
        slots = self.workers[data.draw(st.sampled_from(sorted(self.workers)))]
        for _ in range(number):
            slots.take()

    @precondition(lambda self: any(one.used for one in self.workers.values()))
    @rule(data=st.data())
    def a_task_ends(self, data: st.DataObject) -> None:
        busy = sorted(name for name, one in self.workers.items() if one.used)
        self.workers[data.draw(st.sampled_from(busy))].give()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def a_worker_is_killed(self, data: st.DataObject) -> None:
        del self.workers[data.draw(st.sampled_from(sorted(self.workers)))]

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def a_worker_is_cut_off(self, data: st.DataObject) -> None:
        """Its lease ends, for itself no later than for others, who take its slots."""
        cut_off = data.draw(st.sampled_from(sorted(self.workers)))
        slots = self.workers[cut_off]
        while slots.used:
            slots.give()
        for _ in range(LEASE_S + 1):
            self.now += 1
            for name, other in self.workers.items():
                if name != cut_off:
                    self.renew(name, waiting=True)
                    while other.take():
                        pass
            if slots.take():
                self.never_more_than_there_are()
                slots.give()
        assert not slots.take()

    @rule(seconds=st.floats(0.1, LEASE_S - 1))
    def time_passes(self, seconds: float) -> None:
        """Each worker renews in time; who does not is as good as dead."""
        self.now += seconds
        for name in list(self.workers):
            self.renew(name, waiting=False)

    @precondition(lambda self: self.workers)
    @rule()
    def nobody_starves_and_no_share_is_lost(self) -> None:
        """All need slots, and their tasks take a second: each runs some, and all slots are in use."""
        ran, ends = dict.fromkeys(self.workers, 0), self.now + BACK_S + TURN_S * len(self.workers)
        full_at = None
        began = self.now
        while self.now < ends:
            self.now += 0.5
            for name, slots in self.workers.items():
                self.renew(name, waiting=True)
                if int(self.now * 2) % 2:
                    while slots.used:
                        slots.give()
                while slots.take():
                    ran[name] += 1
            self.never_more_than_there_are()
            reach = min(self.most, SIZE * len(self.workers))
            if sum(one.used for one in self.workers.values()) == reach and full_at is None:
                full_at = self.now
        assert all(ran.values()), ran
        assert full_at is not None
        assert full_at - began <= BACK_S

    @invariant()
    def never_more_than_there_are(self) -> None:
        assert sum(one.used for one in self.workers.values()) <= self.most


Fleet.TestCase.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, phases=(Phase.explicit, Phase.generate)
)  # a whole run of the script in Python is too slow to make a failing one smaller
TestFleet = Fleet.TestCase
