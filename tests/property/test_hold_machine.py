"""Sent, fetched, paused, held, released, killed, cleared, restored in any order: nothing is lost, doubled or reordered.

The worker is the plug-in's own gate, with its scripts, on a channel that stands in for kombu's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
import redis
from celery.worker import state as worker_state
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.machines import PRIORITIES, STEPS, Lists, QueuesMachine, dying, name_of

from opsdash.errors import Uncertain
from opsdash.model.hold import Hold
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.services.queues.trash import Trash
from opsdash.worker import celery_private, hold_release
from opsdash.worker.gate import Gate
from opsdash.worker.message_origin import Origin
from opsdash.worker.watcher import read_flags

HOLDS = st.sampled_from(["x*", "y"])
WORKERS = st.sampled_from([0, 1])


def message(name: str) -> bytes:
    """Its task is the first letter of its name."""
    properties = {"delivery_tag": name}
    return json.dumps({"headers": {"id": name, "task": name[0]}, "properties": properties, "body": ""}).encode()


class FakeWorker:
    """Fetches, and hands what it has fetched to the gate: at once or later, in the order it came."""

    def __init__(self, machine: HoldMachine) -> None:
        self.machine, self.fetched = machine, list[Any]()
        self.channel = SimpleNamespace(
            global_keyprefix="",
            sep="\x06\x16",
            client=SimpleNamespace(connection_pool=machine.raw.connection_pool),
            qos=SimpleNamespace(unacked_key="unacked", unacked_index_key="unacked_index", _delivered={}),
        )
        self.gate = Gate(self.run, (redis.ConnectionError,))
        self.gate.channel = self.channel

    def read(self) -> None:
        link: Any = SimpleNamespace(redis=self.machine.raw, keys=self.machine.broker.keys)
        with self.gate.lock:
            self.gate.set(read_flags(link, ["celery"]))

    def fetch(self, step: int) -> None:
        machine = self.machine
        self.read()
        if self.gate.state.holds("celery"):
            return
        raw = machine.raw.rpop(machine.lists[step])
        if raw is None:
            assert not machine.waiting[step]
            return
        name = name_of(raw)
        assert name == machine.waiting[step].pop(0)
        machine.raw.hset("unacked", name, raw)
        machine.raw.zadd("unacked_index", {name: next(machine.clock)})
        place = Origin("celery", machine.lists[step], raw)
        message = SimpleNamespace(delivery_tag=name, opsdash_origin=place, channel=self.channel)
        self.fetched.append(SimpleNamespace(message=message, acknowledged=False, name=name[0], id=name, step=step))

    def run(self, request: Any) -> None:
        request.acknowledged = True
        self.machine.raw.hdel("unacked", request.id)
        self.machine.raw.zrem("unacked_index", request.id)
        self.machine.ran.append(request.id)


class HoldMachine(QueuesMachine):
    """The model: what waits, what each hold has of each list, what each clear has kept, and what ran."""

    def __init__(self, client: redis.Redis, raw: redis.Redis) -> None:
        super().__init__(client)
        self.raw = raw

    @initialize(step=st.integers(1, 4))
    def start(self, step: int) -> None:
        self.begin(step)
        self.patch.setattr(hold_release, "STEP", step)
        self.held: dict[tuple[str, int], list[str]] = {}
        self.kept: dict[str, Lists] = {}
        self.ran: list[str] = []
        self.sent: list[str] = []
        self.fetched_at: dict[str, int] = {}
        self.clock = count(1)
        self.workers = [FakeWorker(self), FakeWorker(self)]
        self.touched: set[tuple[str, int]] = set()
        self.hold("x*")  # most of what can go wrong needs a hold, and tasks on both sides of it
        for kinds in ("xyxzx", "zxyx"):
            for which in (0, 1):
                self.push(kinds, 0)
                self.fetch(which, 0, 3)
        self.settle(1, 2)

    @rule(kinds=st.text("xyz", min_size=1, max_size=6), step=STEPS)
    def push(self, kinds: str, step: int) -> None:
        names = [f"{kind}{next(self.numbers)}" for kind in kinds]
        self.client.lpush(self.lists[step], *(message(name) for name in names))
        self.waiting[step] += names
        self.sent += names

    @rule(which=WORKERS, step=STEPS, number=st.integers(1, 6))
    def fetch(self, which: int, step: int, number: int) -> None:
        for _ in range(number):
            self.workers[which].fetch(step)

    @rule(which=WORKERS, step=STEPS)
    def serve(self, which: int, step: int) -> None:
        """A worker fetches, and comes to it at once."""
        self.fetch(which, step, 4)
        self.settle(which, 10)

    @rule(which=WORKERS, number=st.integers(1, 6))
    def settle(self, which: int, number: int) -> None:
        """A worker comes to what it has fetched: each task runs, is held, or goes back."""
        worker = self.workers[which]
        worker.read()
        for request in worker.fetched[:number]:
            self.expect(request, worker)
            worker.gate.on_task_request(request)
        del worker.fetched[:number]

    @rule(which=WORKERS)
    def recall(self, which: int) -> None:
        """It gives back all at once what must not start, as when a pause or a hold begins."""
        worker = self.workers[which]
        worker.read()
        meant = [request for request in worker.fetched if worker.gate.holds(request)]
        if not meant:
            return
        order = {request.id: at for at, request in enumerate(worker.fetched)}
        for request in sorted(meant, key=lambda one: order[one.id], reverse=True):
            self.expect(request, worker)
        worker.gate.put_back(*sorted(meant, key=lambda one: order[one.id], reverse=True))
        worker.fetched = [request for request in worker.fetched if request not in meant]

    @rule(which=WORKERS)
    def die(self, which: int) -> None:
        """It is killed, and kombu gives back what it had: as the next to run. Another one takes its place."""
        worker = self.workers[which]
        for request in reversed(worker.fetched):
            self.raw.rpush(self.lists[request.step], request.message.opsdash_origin.raw)
            self.raw.hdel("unacked", request.id)
            self.raw.zrem("unacked_index", request.id)
            self.waiting[request.step].insert(0, request.id)
        self.workers[which] = FakeWorker(self)

    def expect(self, request: Any, worker: FakeWorker) -> None:
        """What the model says of one request."""
        if worker.gate.state.holds("celery"):
            self.waiting[request.step].insert(0, request.id)
            return
        for name in ("x*", "y"):
            if (name, request.step) in self.released or name not in self.holds or request.name != name[0]:
                continue
            self.held.setdefault((name, request.step), []).append(request.id)
            self.touched.add((name, request.step))

    @property
    def holds(self) -> dict[str, Hold]:
        return {hold.name: hold for hold in Holds(self.broker).read().holds}

    @property
    def released(self) -> set[tuple[str, int]]:
        names = {hold.id: hold.name for hold in self.holds.values()}
        lists = Holds(self.broker).lists(names)
        return {(names[one.hold], int(one.step)) for one in lists if one.released}

    @rule(pause=st.booleans())
    def pause_or_resume(self, pause: bool) -> None:
        self.set_pause(pause)

    @rule(name=HOLDS)
    def hold(self, name: str) -> None:
        if name in self.holds and self.holds[name].releasing:
            return
        Holds(self.broker).set("task", name, by="maria", reason="", ttl_s=600)

    @rule(name=HOLDS, call=st.integers(0, 10), by=st.sampled_from(["maria", "worker"]))
    def release(self, name: str, call: int, by: str) -> None:
        """Killed in place of one of its scripts, or not."""
        hold = self.holds.get(name)
        if hold is None:
            return
        before = {step: (self.held.get((name, step), []), self.waiting[step]) for step in PRIORITIES}
        with dying(call, (self.client, "eval"), (self.raw, "eval"), also=(Uncertain,)):
            if by == "worker":
                link: Any = SimpleNamespace(redis=self.raw, keys=self.broker.keys)
                hold_release.release_ended(link, [hold.id])
            else:
                assert HeldTasksMover(self.broker).release(hold, by=by).ended
        self.client.delete(self.broker.keys.busy("celery"))  # ten seconds later
        for step, (held, waiting) in before.items():
            key = self.broker.keys.held(hold.id, str(step), "celery")
            now = self.read(key), self.read(self.lists[step])
            assert now[0] + now[1] == held + waiting, "in front, in their order"
            self.held[name, step], self.waiting[step] = now
        if not call:
            assert name not in self.holds
            assert all(not self.held[name, step] for step in PRIORITIES)

    @rule(name=HOLDS)
    def clear(self, name: str) -> None:
        hold = self.holds.get(name)
        if hold is None or hold.releasing:
            return
        trash_id = f"{next(self.numbers):032x}"
        HeldTasksMover(self.broker).clear(hold, by="maria", keep_s=600, act=trash_id)
        kept = {step: self.held.pop((name, step), []) for step in PRIORITIES}
        if any(kept.values()):
            self.kept[trash_id] = kept

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        trash_id = data.draw(st.sampled_from(list(self.kept)))
        Trash(self.broker).restore(trash_id, by="maria")
        for step, names in self.kept.pop(trash_id).items():
            self.waiting[step] = names + self.waiting[step]

    @invariant()
    def all_is_where_it_belongs(self) -> None:
        for step, names in self.waiting.items():
            assert self.read(self.lists[step]) == names
        everywhere = [name for names in self.waiting.values() for name in names] + self.ran
        holds = self.holds
        for (name, step), names in self.held.items():
            if not names:
                continue
            key = self.broker.keys.held(holds[name].id, str(step), "celery")
            found = self.read(key)
            if (name, step) in self.touched:
                assert sorted(found) == sorted(names)
                order = self.read_order(key)
                assert order == sorted(order), "as they were fetched, whichever worker did"
                self.held[name, step] = found
            else:
                assert found == names
            everywhere += names
        self.touched.clear()
        for trash_id, steps in self.kept.items():
            for step, names in steps.items():
                assert self.read(self.broker.keys.trash(trash_id, str(step))) == names
                everywhere += names
        everywhere += [request.id for worker in self.workers for request in worker.fetched]
        assert sorted(everywhere) == sorted(self.sent), "each is in one place, and nowhere else"
        assert self.client.hlen("unacked") == sum(len(worker.fetched) for worker in self.workers)

    def read_order(self, key: str) -> list[float]:
        return [float(text.split()[0]) for text in self.client.lrange(f"{key}:order", 0, -1)[::-1]]


def examine(clients: tuple[redis.Redis, redis.Redis], examples: int, steps: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(celery_private, "forget", lambda _channel, request: setattr(request, "acknowledged", True))
        patch.setattr(worker_state, "task_ready", lambda _request: None)
        run_state_machine_as_test(
            lambda: HoldMachine(*clients),
            settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None),
        )


@pytest.fixture(params=["fakeredis", "valkey"])
def clients(request: pytest.FixtureRequest) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    """One that decodes, as a console's, and one that does not, as a worker's."""
    if request.param == "fakeredis":
        server = fakeredis.FakeServer()
        yield fakeredis.FakeRedis(server=server, decode_responses=True), fakeredis.FakeRedis(server=server)
        return
    url = request.getfixturevalue("valkey_url")
    with redis.Redis.from_url(url, decode_responses=True) as one, redis.Redis.from_url(url) as other:
        yield one, other


def test_whatever_is_done_in_whatever_order_nothing_is_lost_doubled_or_reordered(
    clients: tuple[redis.Redis, redis.Redis],
) -> None:
    examine(clients, 25, 30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_at_length(clients: tuple[redis.Redis, redis.Redis]) -> None:
    examine(clients, 400, 50)
