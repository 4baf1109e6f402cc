"""Sent, fetched, given back, cleared, sieved, restored, paused in any order: nothing is lost, doubled or reordered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.machines import PRIORITIES, STEPS, Lists, QueuesMachine, dying, empty, name_of

from opsdash.errors import Refused
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.queues import lock
from opsdash.services.queues import read as queues
from opsdash.services.queues.read import Queues
from opsdash.services.queues.reclaim import Reclaim, seen_in
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import take_watermark
from opsdash.services.workers.reports import Workers
from opsdash.services.workers.unmanaged import UnmanagedWorkers

DIGITS = st.sampled_from("0123456789")


def message(name: str, *, redelivered: bool = False) -> str:
    """As kombu writes it: what was given back is not what it was, and keeps its delivery tag."""
    return json.dumps({"headers": {"redelivered": redelivered}, "properties": {"delivery_tag": name}})


def ends_with(digit: str) -> Callable[[bytes], bool]:
    return lambda text: name_of(text).endswith(digit)


class QueueMachine(QueuesMachine):
    """The model: what waits, next to run first, what a worker holds, and what each clear has kept."""

    @initialize(step=st.integers(1, 4), few=st.sampled_from([2, 1_000]))
    def start(self, step: int, few: int) -> None:
        self.begin(step)
        self.patch.setattr(queues, "FEW", few)
        self.held = empty()
        self.kept: dict[str, Lists] = {}
        self.paused = False

    @rule(step=STEPS, number=st.integers(1, 6))
    def push(self, step: int, number: int) -> None:
        names = [f"m{next(self.numbers)}" for _ in range(number)]
        self.client.lpush(self.lists[step], *map(message, names))
        self.waiting[step] += names

    @rule(step=STEPS)
    def take_watermark(self, step: int) -> None:
        """A worker runs the next one."""
        if self.paused:
            return
        taken = self.client.rpop(self.lists[step])
        assert (name_of(taken) if taken else None) == (self.waiting[step].pop(0) if self.waiting[step] else None)

    @rule(step=STEPS, number=st.integers(1, 8))
    def fetch(self, step: int, number: int) -> None:
        """A worker prefetches: the messages are unacknowledged."""
        for _ in range(0 if self.paused else number):
            if taken := self.client.rpop(self.lists[step]):
                assert name_of(taken) == self.waiting[step].pop(0)
                self.client.hset(self.broker.unacked, name_of(taken), taken)
                self.held[step].append(name_of(taken))

    @rule()
    def give_back(self) -> None:
        """What it has not started goes back, newest first, to be the next out."""
        for step, names in self.held.items():
            for name in reversed(names):
                self.client.rpush(self.lists[step], message(name, redelivered=True))
                self.client.hdel(self.broker.unacked, name)
            self.waiting[step] = names + self.waiting[step]
        self.held = empty()

    @rule(step=STEPS, newer=st.integers(0, 4))
    def clear(self, step: int, newer: int) -> None:
        reviewed, old = take_watermark(self.broker, "celery"), self.waiting
        self.waiting = empty()
        if newer:
            self.push(step, newer)
        done = Queues(self.broker).clear("celery", by="maria", keep_s=600, trash_id=self.next_id(), watermark=reviewed)
        assert (done.total, done.newer) == (sum(map(len, old.values())), newer)
        if done.trash_id:
            self.kept[done.trash_id] = old

    @rule(data=st.data())
    def clear_everything(self, data: st.DataObject) -> None:
        """Whatever comes and is fetched after the preview: all that was seen goes, all that came later stays."""
        gathering = Reclaim(
            broker=self.broker, pause=PauseFlags(self.broker), workers=Workers(self.broker), unmanaged=NOBODY
        )
        reviewed = take_watermark(self.broker, "celery") | {"held": gathering.delivery_tags("celery")}
        seen = {name for part in (self.waiting, self.held) for names in part.values() for name in names}
        for act in data.draw(st.lists(st.sampled_from(["push", "fetch", "give back"]), max_size=5)):
            if act == "give back":
                self.give_back()
            elif act == "push":
                self.push(data.draw(STEPS), data.draw(st.integers(1, 4)))
            else:
                self.fetch(data.draw(STEPS), data.draw(st.integers(1, 8)))
        with gathering.hold("celery", by="maria") as hold:
            assert (hold.paused is None) is self.paused
            self.give_back()
            done = Queues(self.broker).clear(
                "celery",
                by="maria",
                keep_s=600,
                trash_id=self.next_id(),
                watermark=reviewed,
                also=seen_in(reviewed["held"]),
            )
        cleared = {step: [name for name in names if name in seen] for step, names in self.waiting.items()}
        self.waiting = {step: [name for name in names if name not in seen] for step, names in self.waiting.items()}
        assert done.total == sum(map(len, cleared.values()))
        assert done.newer == sum(map(len, self.waiting.values()))
        if done.trash_id:
            self.kept[done.trash_id] = cleared

    @rule(digit=DIGITS, step=STEPS, newer=st.integers(0, 3), gone=st.integers(0, 3))
    def clear_selected(self, digit: str, step: int, newer: int, gone: int) -> None:
        """With its preview, while workers take from the queue and producers add to it."""
        trash_id, reviewed = self.next_id(), take_watermark(self.broker, "celery")
        old = {step: list(names) for step, names in self.waiting.items()}
        if newer:
            self.push(step, newer)
        left = [gone]

        def live(_at: int, _of: int) -> None:
            if left[0] and not self.paused and (taken := self.client.rpop(self.lists[step])):
                left[0] -= 1
                taken_names.append(name_of(taken))

        taken_names: list[str] = []
        SelectiveClear(self.broker).clear(
            "celery", ends_with(digit), by="maria", keep_s=600, trash_id=trash_id, watermark=reviewed, on_progress=live
        )
        self.waiting = {s: [n for n in names if n not in taken_names] for s, names in self.waiting.items()}
        cleared = {s: [n for n in old[s] if n.endswith(digit) and n not in taken_names] for s in PRIORITIES}
        self.waiting = {s: [n for n in names if n not in cleared[s]] for s, names in self.waiting.items()}
        if any(cleared.values()):
            self.kept[trash_id] = cleared

    @rule(digit=DIGITS, call=st.integers(1, 12))
    def selective_clear_killed(self, digit: str, call: int) -> None:
        """Whoever comes next brings it to its end."""
        trash_id = self.next_id()
        with dying(call, STEP):
            SelectiveClear(self.broker).clear("celery", ends_with(digit), by="maria", keep_s=600, trash_id=trash_id)
        self.settle()
        kept = {step: self.read(self.broker.keys.trash(trash_id, str(step))) for step in PRIORITIES}
        for step, names in kept.items():
            assert names == [n for n in self.waiting[step] if n in names and n.endswith(digit)]
            self.waiting[step] = [n for n in self.waiting[step] if n not in names]
        if any(kept.values()):
            self.kept[trash_id] = kept

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), call=st.integers(0, 8))
    def restore(self, data: st.DataObject, call: int) -> None:
        """Killed at some step or not, run again: twice is once."""
        trash_id = data.draw(st.sampled_from(list(self.kept)))
        back = self.kept.pop(trash_id)
        if call:
            with dying(call, STEP):
                Trash(self.broker).restore(trash_id, by="maria")
            broken = any(entry.state == "restoring" for entry in Trash(self.broker).list())
            with pytest.raises(Refused, match="is not finished") if broken else contextlib.nullcontext():
                self.settle()
        Trash(self.broker).restore(trash_id, by="maria")
        Trash(self.broker).restore(trash_id, by="maria")
        self.waiting = {step: back[step] + self.waiting[step] for step in self.waiting}

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        trash_id = data.draw(st.sampled_from(list(self.kept)))
        kept = self.kept.pop(trash_id)
        assert Trash(self.broker).delete(trash_id, by="maria").count == sum(map(len, kept.values()))

    @rule(pause=st.booleans())
    def pause_or_resume(self, pause: bool) -> None:
        self.set_pause(pause)
        self.paused = pause

    @invariant()
    def all_is_where_it_belongs(self) -> None:
        for step, names in self.waiting.items():
            assert self.read(self.lists[step]) == names
        for trash_id, steps in self.kept.items():
            for step, names in steps.items():
                assert self.read(self.broker.keys.trash(trash_id, str(step))) == names
        assert {entry.id for entry in Trash(self.broker).list()} == self.kept.keys()
        assert ("celery" in PauseFlags(self.broker).read(["celery"])) is self.paused
        assert not [key for key in self.client.scan_iter() if ":kept:" in key or ":busy:" in key]

    def next_id(self) -> str:
        """A trash id that is the same in every run of the same steps."""
        return f"trash {next(self.numbers)}"

    def settle(self) -> None:
        """Ten seconds later somebody works on the queue."""
        self.client.delete(self.broker.keys.busy("celery"))
        Queues(self.broker)._finish_broken("celery", "otto")


NOBODY: UnmanagedWorkers = Any  # nothing here asks workers
STEP = (lock.QueueLock, "run")
"""Of what moves messages."""


def examine(client: redis.Redis, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: QueueMachine(client), settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


@pytest.fixture(params=["fakeredis", "valkey"])
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    if request.param == "fakeredis":
        yield fakeredis.FakeRedis(decode_responses=True)
        return
    with redis.Redis.from_url(request.getfixturevalue("valkey_url"), decode_responses=True) as made:
        yield made


def test_whatever_is_done_in_whatever_order_nothing_is_lost_doubled_or_reordered(client: redis.Redis) -> None:
    examine(client, 20, 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_at_length(client: redis.Redis) -> None:
    examine(client, 400, 50)
