"""Several tasks out of their queues into one trash, and back to their own places."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import redis
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.errors import Refused
from opsdash.services.broker.client import Broker, connect
from opsdash.services.queues import lock, put_back, scan, take_out
from opsdash.services.queues.lock import QueueLock, locked
from opsdash.services.queues.remove_task import remove
from opsdash.services.queues.remove_tasks import Bin, take
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.workflow_trash import WorkflowTrash

ROOT = "root-1"


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A real server alone: fakeredis's scripts know no digests."""
    made = connect(Settings.from_env({}, redis_url=valkey_url))
    yield made.client
    made.client.close()


def push(broker: Broker, ids: str, *, queue: str = "celery", step: int = 0) -> None:
    """Words in capitals are of the workflow."""
    for one in ids.split():
        more = {"root_id": ROOT} if one.isupper() else {}
        broker.client.lpush(broker.lists(queue)[step], message(one, **more))


def key(broker: Broker) -> str:
    return broker.lists("celery")[0]


def order(broker: Broker, queue: str = "celery", step: int = 0) -> str:
    """The ids, the next to run first."""
    found = broker.client.lrange(broker.lists(queue)[step], 0, -1)[::-1]
    return " ".join(one.partition('"id": "')[2].partition('"')[0] for one in found)


def take_out_all(
    broker: Broker, queue: str = "celery", *, keep_s: int = 60, trash_id: str = "t1", **more: object
) -> int:
    until_s = int(time.time()) + keep_s
    into = Bin(id=trash_id, root=ROOT, by="maria", at="2026-11-28T10:00:00+00:00", until_s=until_s, keep_s=keep_s)
    return take(broker, queue, [ROOT], lambda raw: b'"root_id": "root-1"' in raw, into, **more)  # type: ignore[arg-type] # mixed


def test_the_tasks_of_a_workflow_leave_their_queues_and_come_back_to_their_places(broker: Broker) -> None:
    push(broker, "a A b B C c D")
    push(broker, "x X", step=3)
    push(broker, "E m F n", queue="emails")
    lists = [*broker.lists("celery").values(), *broker.lists("emails").values()]
    before = [broker.client.lrange(key, 0, -1) for key in lists]
    assert (take_out_all(broker), take_out_all(broker, "emails")) == (5, 2)
    assert (order(broker), order(broker, step=3), order(broker, "emails")) == ("a b c", "x", "m n")
    (entry,) = Trash(broker).list()
    assert (entry.id, entry.kind, entry.count, entry.root, entry.by) == ("t1", "workflow", 7, ROOT, "maria")
    assert (entry.name, entry.queue) == ("(workflow) root-1", "")
    assert entry.size_bytes
    assert WorkflowTrash(broker).by_queue("t1") == {"celery": 5, "emails": 2}
    _, done = WorkflowTrash(broker).restore("t1", by="otto")
    assert (done.tasks, done.own_place, done.queues) == (7, 7, {"celery": 5, "emails": 2})
    assert [broker.client.lrange(key, 0, -1) for key in lists] == before
    assert Trash(broker).list() == ()
    with pytest.raises(Refused, match="The 7 tasks of trash t1 went back to their queues"):
        WorkflowTrash(broker).restore("t1", by="otto")


@pytest.mark.parametrize("near", [-1, 3, 20_000])
@pytest.mark.parametrize("room", [0, 2, 2_000])
@pytest.mark.parametrize("window", [1, 3, 100])
def test_whatever_the_steps_the_order_is_as_it_was(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, window: int, room: int, near: int
) -> None:
    monkeypatch.setattr(scan, "FIRST", window)
    monkeypatch.setattr(scan, "LARGEST_WINDOW", window)
    monkeypatch.setattr(put_back, "LAST", room)
    monkeypatch.setattr(take_out, "NEAR", near)
    monkeypatch.setattr(take_out, "MOST_AT_ONCE", 1 + window % 3)
    chance = random.Random(window * 10 + room)
    for turn in range(4):
        broker.client.flushall()
        push(broker, " ".join(f"{chance.choice('tTT')}{n}" for n in range(chance.randrange(1, 40))))
        push(broker, "A", step=6)
        before = order(broker)
        number = take_out_all(broker)
        assert order(broker).split() == [one for one in before.split() if one.islower()], turn
        came, gone = chance.randrange(0, 5), chance.randrange(0, 2)
        push(broker, " ".join(f"n{n}" for n in range(came)))
        if gone and order(broker):
            broker.client.rpop(broker.lists("celery")[0])
        _, done = WorkflowTrash(broker).restore("t1", by="otto")
        assert done.tasks == number
        after = [one for one in order(broker).split() if not one.startswith("n")]
        taken = [one for one in before.split() if one not in after]
        assert after == [one for one in before.split() if one not in taken], (turn, before, order(broker))


@pytest.mark.long
def test_a_group_of_thousands_goes_and_comes_back_quickly(broker: Broker) -> None:
    push(broker, " ".join(f"a{n}" for n in range(500)))
    broker.client.lpush(broker.lists("celery")[0], *(message(f"M{n}", root_id=ROOT) for n in range(10_000)))
    push(broker, " ".join(f"b{n}" for n in range(500)))
    before = broker.client.lrange(broker.lists("celery")[0], 0, -1)
    steps: list[int] = []
    started = time.monotonic()
    assert take_out_all(broker, on_step=steps.append) == sum(steps) == 10_000
    assert broker.client.llen(broker.lists("celery")[0]) == 1_000
    left: list[int] = []
    WorkflowTrash(broker).restore("t1", by="otto", on_progress=left.append)
    assert time.monotonic() - started < 20
    assert left[-1] == 0
    assert broker.client.lrange(broker.lists("celery")[0], 0, -1) == before


@pytest.mark.parametrize("away", ["nobody", "neighbours"])
def test_heavy_tasks_go_back_a_few_at_a_time(broker: Broker, away: str) -> None:
    heavy = [message(f"W{n}", root_id=ROOT, pad="x" * 200_000) for n in range(12)]
    push(broker, "a b")
    broker.client.lpush(key(broker), *heavy)
    push(broker, "c d")
    was = order(broker)
    assert take_out_all(broker) == 12
    if away == "neighbours":
        broker.client.delete(key(broker))
        push(broker, "n")
    left: list[int] = []
    WorkflowTrash(broker).restore("t1", by="otto", on_progress=left.append)
    assert max(before - after for before, after in pairwise([12, *left])) <= 3, "which weigh half a megabyte"
    assert order(broker) == (was if away == "nobody" else was.replace("a b ", "").replace("c d", "n"))


@pytest.mark.long
@pytest.mark.parametrize("killed", [0, 1, 6, 11])
def test_tasks_without_a_neighbour_run_next_in_their_order_and_no_other_moves(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    monkeypatch.setattr(put_back, "LAST", 10)
    monkeypatch.setattr(put_back, "MOST_AT_ONCE", 10)
    key, ids = broker.lists("celery")[0], " ".join(f"W{n}" for n in range(100))
    push(broker, f"a {ids} b")
    take_out_all(broker)
    broker.client.delete(key)
    others = " ".join(f"n{n}" for n in range(1_000))
    push(broker, others)
    waiting, run = list[int](), QueueLock.run

    def step(*args: Any) -> Any:
        if len(waiting) == killed > 0:
            waiting.append(1_000)
            raise KeyboardInterrupt
        answer = run(*args)
        waiting.append(broker.client.llen(key))
        return answer

    monkeypatch.setattr(QueueLock, "run", step)
    if killed:
        with pytest.raises(KeyboardInterrupt):
            WorkflowTrash(broker).restore("t1", by="otto")
    WorkflowTrash(broker).restore("t1", by="otto")
    assert order(broker) == f"{ids} {others}"
    assert min(waiting) == 1_000


def test_a_task_whose_neighbours_are_taken_while_it_goes_back_still_runs_before_the_next_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_back, "MOST_AT_ONCE", 1)
    push(broker, "A a b c d e B")
    take_out_all(broker)
    run = QueueLock.run

    def step(*args: Any) -> Any:
        for name in order(broker).split():
            if name.islower():
                broker.client.rpop(broker.lists("celery")[0])
        return run(*args)

    monkeypatch.setattr(QueueLock, "run", step)
    WorkflowTrash(broker).restore("t1", by="otto")
    assert order(broker) == "A B"


def test_a_take_that_is_cancelled_or_runs_again_goes_on_and_counts_each_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "FIRST", 2)
    monkeypatch.setattr(scan, "LARGEST_WINDOW", 2)
    push(broker, "A B a C D b E F")
    before = order(broker)
    steps: list[int] = []
    assert take_out_all(broker, on_step=steps.append, cancelled=lambda: len(steps) == 2) == 3
    assert take_out_all(broker) == 3
    assert take_out_all(broker) == 0
    assert Trash(broker).find("t1").count == 6
    WorkflowTrash(broker).restore("t1", by="otto")
    assert order(broker) == before


def test_a_restore_that_is_interrupted_is_run_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(put_back, "MOST_AT_ONCE", 1)
    push(broker, "A B a C D b E F")
    before = order(broker)
    take_out_all(broker)

    def die(_left: int) -> None:
        raise KeyboardInterrupt

    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            WorkflowTrash(broker).restore("t1", by="otto", on_progress=die)
    assert order(broker) == before
    assert WorkflowTrash(broker).restore("t1", by="otto")[1].tasks == 0, "all are back, and it says so from now on"
    with pytest.raises(Refused, match="The 6 tasks of trash t1 went back"):
        Trash(broker).find("t1")


@pytest.mark.parametrize("near", [-1, 2, 20_000])
def test_what_workers_and_producers_do_meanwhile_moves_no_other_task(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, near: int
) -> None:
    monkeypatch.setattr(take_out, "NEAR", near)
    push(broker, "A a B b C")
    real = scan.holding_step
    acts: list[Callable[[], object]] = [lambda: push(broker, "n1 n2 n3"), lambda: broker.client.rpop(key)]
    key = broker.lists("celery")[0]

    def step(*args: Any, **more: Any) -> object:
        found = real(*args, **more)
        while acts:
            acts.pop()()
        return found

    monkeypatch.setattr(scan, "holding_step", step)
    assert take_out_all(broker) == 2
    assert order(broker) == "a b n1 n2 n3"


def commands(broker: Broker) -> dict[str, int]:
    """How often Redis was asked for each, scripts' own commands too."""
    client: redis.Redis = broker.client
    stats: dict[str, dict[str, int]] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): of["calls"] for name, of in stats.items()}


def test_a_task_far_from_both_ends_costs_no_pass_over_the_list_in_one_step(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_out, "NEAR", 10)
    monkeypatch.setattr(lock, "LARGEST_STEP", 100)
    push(broker, " ".join(f"{'A' if n in (200, 205, 301) else 'a'}{n}" for n in range(600)))
    before = order(broker)
    broker.client.config_resetstat()
    waiting = list[int]()
    assert take_out_all(broker, on_step=lambda _number: waiting.append(broker.client.llen(key(broker)))) == 3
    used = commands(broker)
    assert not used.keys() & {"lrem", "lset"}
    assert min(waiting) >= 200, "what is older stays where it is"
    assert 700 < used["lmove"] < 900, "each newer message moved twice, and no other one"
    WorkflowTrash(broker).restore("t1", by="otto")
    assert order(broker) == before


@pytest.mark.parametrize("harm", ["restored", "no places", "places of another type"])
def test_a_trash_that_somebody_changed_meanwhile_gets_no_more_and_the_queue_keeps_its_tasks(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(take_out, "NEAR", -1)
    monkeypatch.setattr(take_out, "MOST_AT_ONCE", 1)
    push(broker, "A a B b C c D d")
    before = order(broker).split()
    places = broker.keys.trash("t1", "places:celery")

    def change(_number: int) -> None:
        if harm == "restored":
            broker.client.hset(broker.keys.trash("t1", "info"), "state", "restored")
        else:
            broker.client.delete(places)
        if harm == "places of another type":
            broker.client.set(places, "x")

    with pytest.raises(Refused, match=r"Trash t1 was (restored meanwhile|changed outside opsdash)"):
        take_out_all(broker, on_step=change)
    left = order(broker).split()
    assert left == [one for one in before if one in left]
    assert len(left) == 7
    assert not list(broker.client.scan_iter("*:kept:*"))


@pytest.mark.parametrize("near", [-1, 20_000])
def test_a_look_that_takes_longer_than_the_lease_keeps_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, near: int
) -> None:
    monkeypatch.setattr(take_out, "NEAR", near)
    monkeypatch.setattr(scan, "FIRST", 1)
    monkeypatch.setattr(scan, "LARGEST_WINDOW", 1)
    push(broker, "A a b c B d")
    real, lease = scan._raw, broker.keys.busy("celery")

    def slow(*args: Any) -> Any:
        left_ms: int = broker.client.pttl(lease)
        assert left_ms > 5_000, "the step before has renewed it"
        broker.client.pexpire(lease, max(1, left_ms - 4_000))  # as if it had taken so long
        return real(*args)

    monkeypatch.setattr(scan, "_raw", slow)
    assert take_out_all(broker) == 2
    assert remove(broker, "celery", "c", by="maria", keep_s=60, trash_id="t2").trash_id == "t2"


def test_without_an_undo_window_they_are_gone_and_a_lock_keeps_others_out(broker: Broker) -> None:
    push(broker, "A a")
    with locked(broker, "celery", by="otto", what="clear"), pytest.raises(Refused, match="being worked on by otto"):
        take_out_all(broker)
    assert take_out_all(broker, keep_s=0) == 1
    assert (order(broker), Trash(broker).list()) == ("a", ())


def test_a_deleted_trash_is_gone_with_all_its_keys(broker: Broker) -> None:
    push(broker, "A a")
    take_out_all(broker)
    assert WorkflowTrash(broker).delete("t1").count == 1
    assert not list(broker.client.scan_iter("*trash*"))
    with pytest.raises(Refused, match="no such trash"):
        WorkflowTrash(broker).restore("t1", by="otto")
