"""Sent, taken, cleared, sieved, restored and paused in any order: nothing is lost, doubled or reordered."""

from __future__ import annotations

from itertools import count

import fakeredis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from opsdash.keys import Keys
from opsdash.services import moving
from opsdash.services.boundary import draw
from opsdash.services.broker import Broker
from opsdash.services.pause import PauseFlags
from opsdash.services.queues import Queues
from opsdash.services.sieving import Sieve
from opsdash.services.trash import Trash

STEPS = st.sampled_from([0, 9])


class QueueMachine(RuleBasedStateMachine):
    """The model: what waits, next to run first, and what each clear has kept."""

    @initialize(step=st.integers(1, 4))
    def start(self, step: int) -> None:
        self.before = moving.FIRST_STEP, moving.LARGEST_STEP
        moving.FIRST_STEP = moving.LARGEST_STEP = step
        self.broker = Broker(fakeredis.FakeRedis(decode_responses=True), Keys(), "test", ("celery",))
        self.waiting: dict[int, list[str]] = {0: [], 9: []}
        self.kept: dict[str, dict[int, list[str]]] = {}
        self.numbers = count()

    @rule(step=STEPS, number=st.integers(1, 6))
    def push(self, step: int, number: int) -> None:
        messages = [f"m{next(self.numbers)}" for _ in range(number)]
        self.broker.client.lpush(self.broker.lists("celery")[step], *messages)
        self.waiting[step] += messages

    @rule(step=STEPS)
    def take(self, step: int) -> None:
        taken = self.broker.client.rpop(self.broker.lists("celery")[step])
        assert taken == (self.waiting[step].pop(0) if self.waiting[step] else None)

    @rule(step=STEPS, newer=st.integers(0, 4))
    def clear(self, step: int, newer: int) -> None:
        reviewed, old = draw(self.broker, "celery"), self.waiting
        self.waiting = {0: [], 9: []}
        if newer:
            self.push(step, newer)
        done = Queues(self.broker).clear("celery", by="maria", keep_s=600, boundary=reviewed)
        assert (done.total, done.newer) == (sum(map(len, old.values())), newer)
        if done.trash_id:
            self.kept[done.trash_id] = old

    @rule(digit=st.sampled_from("0123456789"))
    def sieve(self, digit: str) -> None:
        trash_id = f"sieve-{next(self.numbers)}"
        Sieve(self.broker).clear(
            "celery", lambda raw: raw.decode().endswith(digit), by="maria", keep_s=600, trash_id=trash_id
        )
        cleared = {step: [m for m in messages if m.endswith(digit)] for step, messages in self.waiting.items()}
        self.waiting = {step: [m for m in ms if not m.endswith(digit)] for step, ms in self.waiting.items()}
        if any(cleared.values()):
            self.kept[trash_id] = cleared

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        trash_id = data.draw(st.sampled_from(sorted(self.kept)))
        back = self.kept.pop(trash_id)
        Trash(self.broker).restore(trash_id, by="maria")
        Trash(self.broker).restore(trash_id, by="maria")  # twice is once
        self.waiting = {step: back[step] + self.waiting[step] for step in self.waiting}

    @rule(pause=st.booleans())
    def pause_or_resume(self, pause: bool) -> None:
        flags = PauseFlags(self.broker)
        if pause:
            flags.pause("celery", by="maria", reason="", ttl_s=60)
        else:
            flags.resume("celery")

    @invariant()
    def all_is_where_it_belongs(self) -> None:
        client, keys = self.broker.client, self.broker.keys
        for step, messages in self.waiting.items():
            assert client.lrange(self.broker.lists("celery")[step], 0, -1)[::-1] == messages
        for trash_id, steps in self.kept.items():
            for step, messages in steps.items():
                assert client.lrange(keys.trash(trash_id, str(step)), 0, -1)[::-1] == messages
        assert {entry.id for entry in Trash(self.broker).list()} == self.kept.keys()

    def teardown(self) -> None:
        moving.FIRST_STEP, moving.LARGEST_STEP = self.before


QueueMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestQueues = QueueMachine.TestCase
