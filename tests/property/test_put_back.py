"""Tasks are removed and go back, killed at any step, while workers take and producers send: each once, in its place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from support.messages import message

from opsdash.errors import Refused
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.queues import lock, put_back, scan, take_out
from opsdash.services.queues.read import Queues
from opsdash.services.queues.remove_task import remove
from opsdash.services.queues.remove_tasks import TASKS, Bin, take
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.workflow_trash import WorkflowTrash

STEPS = (0, 6)
"""Priority steps that have messages."""


class Killed(BaseException):
    """Stands for ``kill -9``: nothing is tidied up."""


class World:
    """A queue, what its workers have taken, and in which order all was sent."""

    def __init__(self, client: redis.Redis) -> None:
        client.flushall()
        self.broker = Broker(client, Layouts.fixed(client, Layout()), "test", ("celery",))
        self.lists = self.broker.lists("celery")
        self.sent: dict[int, list[str]] = {step: [] for step in STEPS}
        self.taken: dict[int, list[str]] = {step: [] for step in STEPS}
        self._numbers = count()

    def push(self, step: int, workflow: bool) -> None:
        name = f"{'W' if workflow else 'n'}{next(self._numbers)}"
        self.broker.client.lpush(self.lists[step], message(name, **({"root_id": "root-1"} if workflow else {})))
        self.sent[step].append(name)

    def pop(self, step: int) -> None:
        if text := self.broker.client.rpop(self.lists[step]):
            self.taken[step].append(name_of(text))

    def remove_all(self, trash_id: str) -> None:
        """All of the workflow."""
        into = Bin(id=trash_id, root="root-1", by="maria", at="", until_s=int(time.time()) + 600, keep_s=600)
        take(self.broker, "celery", ["root-1"], lambda raw: b'"root_id": "root-1"' in raw, into)

    def waiting(self, step: int) -> list[str]:
        return [name_of(text) for text in self.broker.client.lrange(self.lists[step], 0, -1)[::-1]]

    def ten_seconds_later(self) -> None:
        """The lease of who was killed has ended, and the next operation gives back what it has set aside."""
        self.broker.client.delete(self.broker.keys.busy("celery"))
        Queues(self.broker)._finish_broken("celery", "otto")

    def check(self, *, whole: bool = True) -> None:
        """Each task is there once, in its order; ``whole``: and none in the trash."""
        client, keys = self.broker.client, self.broker.keys
        trash = [keys.trash("all", f"{TASKS}celery"), *(keys.trash("alone", str(step)) for step in STEPS)]
        removed = [name_of(text) for key in trash for text in client.lrange(key, 0, -1)]
        found = sorted([*removed, *(name for step in STEPS for name in self.waiting(step) + self.taken[step])])
        assert found == sorted(name for sent in self.sent.values() for name in sent), "each once"
        for step, sent in self.sent.items():
            left = self.waiting(step)
            assert left == [name for name in sent if name in left], (sent, self.taken[step])
        if not whole:
            return
        assert not [key for key in self.broker.client.scan_iter() if ":kept:" in key or ":busy:" in key]
        assert Trash(self.broker).list() == ()


def name_of(text: str) -> str:
    return text.partition('"id": "')[2].partition('"')[0]


@contextlib.contextmanager
def living(world: World, acts: Iterator[str], call: int, after: bool) -> Iterator[None]:
    """Before each step of the console others do what they do; at one of them it is killed, before or after the step."""
    run, calls = lock.QueueLock.run, count(1)

    def steps(*args: Any) -> Any:
        act, number = next(acts, ""), next(calls)
        for step in STEPS:
            for one in act:
                world.pop(step) if one == "-" else world.push(step, workflow=False)
        if number == call and not after:
            raise Killed
        answer = run(*args)
        if number == call:
            raise Killed
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock.QueueLock, "run", steps)
        with contextlib.suppress(Killed):
            yield


def dying(world: World, data: st.DataObject) -> contextlib.AbstractContextManager[None]:
    """The same, by chance."""
    acts = data.draw(st.lists(st.text("+-", max_size=2), max_size=12))
    return living(world, iter(acts), data.draw(st.integers(0, 60)), after=data.draw(st.booleans()))


def once(world: World, data: st.DataObject) -> None:
    """Sent, removed (in parts, one task alone or all of a workflow), lived on, killed at some step, and restored."""
    draw = data.draw
    for step in STEPS:
        for workflow in draw(st.lists(st.booleans(), max_size=25)):
            world.push(step, workflow)
    alone = draw(st.sampled_from([None, *world.sent[0]]))
    if alone:
        with dying(world, data), contextlib.suppress(Refused):  # it runs by now
            remove(world.broker, "celery", alone, by="maria", keep_s=600, trash_id="alone")
        world.ten_seconds_later()
        world.check(whole=False)
    with dying(world, data):
        world.remove_all("all")
    world.ten_seconds_later()
    world.check(whole=False)
    world.remove_all("all")
    for step in STEPS:
        for workflow in draw(st.lists(st.booleans(), max_size=6)):
            world.push(step, workflow)
        for _ in range(draw(st.integers(0, 3))):
            world.pop(step)
    if draw(st.booleans()):
        world.remove_all("all")
    restores = {"alone": Trash(world.broker).restore, "all": WorkflowTrash(world.broker).restore}
    # The other way round they were removed, so that each has its neighbours again.
    for trash_id in [entry.id for entry in sorted(Trash(world.broker).list(), key=lambda one: one.id != "all")]:
        restore = restores[trash_id]
        with dying(world, data):
            restore(trash_id, by="otto")
        world.ten_seconds_later()
        with contextlib.suppress(Refused):  # all were back
            restore(trash_id, by="otto")
    world.check()


def examine(client: redis.Redis, examples: int) -> None:
    @settings(max_examples=examples)
    @given(
        data=st.data(),
        sizes=st.tuples(*[st.sampled_from([1, 2, 5, 1_000])] * 4),
        near=st.sampled_from([-1, 2, 5, 20_000]),
    )
    def test(data: st.DataObject, sizes: tuple[int, int, int, int], near: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lock, "FIRST_STEP", sizes[0])
            patch.setattr(lock, "LARGEST_STEP", sizes[0])
            patch.setattr(put_back, "LAST", sizes[1])
            patch.setattr(put_back, "MOST_AT_ONCE", sizes[2])
            patch.setattr(put_back, "MOST", sizes[2] + sizes[3])
            patch.setattr(take_out, "NEAR", near)
            patch.setattr(take_out, "MOST_AT_ONCE", sizes[1])
            patch.setattr(scan, "FIRST", sizes[3])
            patch.setattr(scan, "LARGEST_WINDOW", sizes[3])
            once(World(client), data)

    test()


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A real server alone: fakeredis's scripts know no digests."""
    with redis.Redis.from_url(valkey_url, decode_responses=True) as made:
        yield made


@pytest.mark.long
def test_whatever_happens_meanwhile_each_removed_task_is_back_once_and_in_its_place(client: redis.Redis) -> None:
    examine(client, 100)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_at_length(client: redis.Redis) -> None:
    examine(client, 2_000)
