"""One task out of its queue, and back to its own place."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.errors import Refused
from opsdash.services.broker.client import Broker, connect
from opsdash.services.queues import put_back, remove_task, selective_clear, take_out
from opsdash.services.queues.lock import QueueLock, locked
from opsdash.services.queues.put_back import PLACES
from opsdash.services.queues.read import Queues
from opsdash.services.queues.remove_task import Removed, remove
from opsdash.services.queues.trash import Trash


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A real server alone: fakeredis's scripts know no digests."""
    made = connect(Settings.from_env({}, redis_url=valkey_url))
    yield made.client
    made.client.close()


def push(broker: Broker, *ids: str, step: int = 0) -> None:
    broker.client.lpush(broker.lists("celery")[step], *(message(one) for one in ids))


def order(broker: Broker, step: int = 0) -> str:
    """The ids, the next to run first."""
    found = broker.client.lrange(broker.lists("celery")[step], 0, -1)[::-1]
    return " ".join(one.partition('"id": "')[2].partition('"')[0] for one in found)


def take_one(broker: Broker, task_id: str, *, trash_id: str = "t1", keep_s: int = 60) -> Removed:
    return remove(broker, "celery", task_id, by="maria", keep_s=keep_s, trash_id=trash_id, others=("emails",))


@pytest.fixture(params=[20_000, -1], ids=["near an end", "far from both ends"])
def distance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which way a task is taken out."""
    monkeypatch.setattr(take_out, "NEAR", request.param)


@pytest.mark.usefixtures("distance")
@pytest.mark.parametrize("task_id", ["a", "b", "c", "d"])
def test_a_removed_task_goes_back_to_its_own_place(broker: Broker, task_id: str) -> None:
    push(broker, *"abcd")
    push(broker, "x", step=3)
    before = broker.client.lrange(broker.lists("celery")[0], 0, -1)
    done = take_one(broker, task_id)
    assert (done.position, done.waiting, done.priority) == ("abcd".index(task_id) + 1, 4, 0)
    assert done.receipt is not None
    assert (done.receipt.before, done.receipt.after) == ({0: 4, 3: 1}, {0: 3, 3: 1})
    assert order(broker) == "a b c d".replace(task_id, "").replace("  ", " ").strip()
    (entry,) = Trash(broker).list()
    assert (entry.id, entry.task_id, entry.count, entry.queue, entry.by) == ("t1", task_id, 1, "celery", "maria")
    restored = Trash(broker).restore("t1", by="otto")
    assert restored.tasks == 1
    assert broker.client.lrange(broker.lists("celery")[0], 0, -1) == before
    again = Trash(broker).restore("t1", by="otto")
    assert (again.tasks, again.receipt) == (0, None)
    assert broker.client.lrange(broker.lists("celery")[0], 0, -1) == before


def test_it_goes_back_between_its_neighbours_after_others_came_and_went(broker: Broker) -> None:
    push(broker, *"abcdefgh")
    take_one(broker, "e")
    push(broker, *(f"n{i}" for i in range(50)))
    key = broker.lists("celery")[0]
    broker.client.rpop(key, 2)
    assert Trash(broker).restore("t1", by="otto").where == "behind"
    assert order(broker).startswith("c d e f g h n0")
    take_one(broker, "e", trash_id="t2")
    broker.client.rpop(key, 2)  # c and d run
    Trash(broker).restore("t2", by="otto")
    assert order(broker).startswith("e f g h n0")


def test_without_its_newer_neighbours_it_goes_behind_an_older_one_and_without_any_it_is_next(broker: Broker) -> None:
    push(broker, *"abc")
    take_one(broker, "c")  # the newest
    push(broker, "d", "e")
    assert Trash(broker).restore("t1", by="otto").where == "before"
    assert order(broker) == "a b c d e"
    take_one(broker, "c", trash_id="t2")
    broker.client.delete(broker.lists("celery")[0])
    push(broker, "x", "y")
    assert Trash(broker).restore("t2", by="otto").where == "next"
    assert order(broker) == "c x y"


def test_a_place_far_from_both_ends_is_found_and_filled(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(put_back, "LAST", 1)
    push(broker, *(f"t{n}" for n in range(300)))
    take_one(broker, "t150")
    push(broker, *(f"n{n}" for n in range(100)))
    broker.client.rpop(broker.lists("celery")[0], 100)
    Trash(broker).restore("t1", by="otto")
    assert " t149 t150 t151 " in order(broker)
    assert len(order(broker).split()) == 300


def least_waiting(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many wait after each step from now on."""
    numbers, run, key = list[int](), QueueLock.run, broker.lists("celery")[0]

    def counted(*args: Any) -> Any:
        answer = run(*args)
        numbers.append(broker.client.llen(key))
        return answer

    monkeypatch.setattr(QueueLock, "run", counted)
    return numbers


@pytest.mark.long
@pytest.mark.parametrize("gone", ["first", "newer", "all"])
def test_a_queue_is_not_set_aside_for_neighbours_that_are_gone(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    ids = [f"t{n}" for n in range(3_000)]
    push(broker, *ids)
    take_one(broker, "t2900")
    for one in {"first": [2901], "newer": range(2901, 2906), "all": [*range(2895, 2900), *range(2901, 2906)]}[gone]:
        ids.remove(f"t{one}")
        take_one(broker, f"t{one}", trash_id=f"other-{one}")
    if gone == "all":
        ids = ["t2900", *(one for one in ids if one != "t2900")]
    waiting = least_waiting(broker, monkeypatch)
    Trash(broker).restore("t1", by="otto")
    assert order(broker).split() == ids
    assert min(waiting) > 2_000, "workers take the oldest of the queue meanwhile, never the newest"


def test_a_task_that_was_alone_runs_next_at_once_however_many_have_come_since(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(broker, "a")
    take_one(broker, "a")
    push(broker, *(f"t{n}" for n in range(3_000)))
    waiting = least_waiting(broker, monkeypatch)
    assert Trash(broker).restore("t1", by="otto").where == "next"
    assert order(broker).startswith("a t0 t1 ")
    assert waiting == [3_001]


@pytest.mark.parametrize("harm", ["no places", "places of another type", "no count", "other restores"])
def test_what_others_did_to_the_trash_costs_the_queue_nothing(broker: Broker, harm: str) -> None:
    push(broker, *"abcd")
    take_one(broker, "b")
    keys, run = broker.keys, QueueLock.run
    places, info = keys.trash("t1", f"{PLACES}celery"), keys.trash("t1", "info")

    def then(*args: Any) -> Any:
        """Right before the step."""
        if harm.startswith(("no places", "places")):
            broker.client.delete(places)
        if harm == "places of another type":
            broker.client.set(places, "x")
        if harm == "no count":
            broker.client.hset(info, "count", "many")
        if harm == "other restores":
            broker.client.set(keys.restores, "x")
        return run(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QueueLock, "run", then)
        with contextlib.suppress(Refused):
            Trash(broker).restore("t1", by="otto")
    found = order(broker).split() + ["b"] * broker.client.llen(keys.trash("t1", "0"))
    assert sorted(found) == [*"abcd"]
    if "places" in harm:
        assert order(broker) == "a c d"
        with pytest.raises(Refused, match="deleted outside opsdash"):
            Trash(broker).restore("t1", by="otto")
    else:
        assert order(broker) == "a b c d"


def test_an_undo_that_has_begun_ends_in_a_redis_that_is_full_meanwhile(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(broker, *"abcd")
    take_one(broker, "b")
    run = QueueLock.run

    def full(*args: Any) -> Any:
        broker.client.config_set("maxmemory", 1)
        return run(*args)

    monkeypatch.setattr(QueueLock, "run", full)
    try:
        Trash(broker).restore("t1", by="otto")
    finally:
        broker.client.config_set("maxmemory", 0)
    assert order(broker) == "a b c d"
    assert Trash(broker).list() == ()


@pytest.mark.usefixtures("distance")
def test_a_task_that_is_in_the_queue_twice_is_removed_once_the_one_that_runs_first(broker: Broker) -> None:
    push(broker, *"abcb")
    take_one(broker, "b")
    assert order(broker) == "a c b"
    Trash(broker).restore("t1", by="otto")
    assert order(broker) == "a b c b"


@pytest.mark.usefixtures("distance")
def test_removing_twice_with_one_id_is_done_once(broker: Broker) -> None:
    push(broker, *"abcb")
    take_one(broker, "b")
    again = take_one(broker, "b")
    assert (again.trash_id, again.receipt) == ("t1", None)
    assert order(broker) == "a c b"


@pytest.mark.usefixtures("distance")
def test_without_an_undo_window_it_is_gone(broker: Broker) -> None:
    push(broker, *"abc")
    assert take_one(broker, "b", keep_s=0).trash_id is None
    assert order(broker) == "a c"
    assert Trash(broker).list() == ()


@pytest.mark.usefixtures("distance")
def test_what_has_been_taken_meanwhile_is_refused_and_nothing_changes(broker: Broker) -> None:
    push(broker, *"abc")
    with pytest.raises(Refused, match="does not wait in queue celery any more"):
        take_one(broker, "z")
    with locked(broker, "celery", by="otto", what="clear"), pytest.raises(Refused, match="being worked on by otto"):
        take_one(broker, "b")
    assert order(broker) == "a b c"


def test_a_place_that_moves_between_the_look_and_the_step_is_looked_for_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(broker, *"abc")
    look, times = remove_task._waiting, []

    def pushed_meanwhile(*args: object) -> object:
        found = look(*args)  # type: ignore[arg-type]
        times.append(1)
        push(broker, *(f"n{len(times)}-{n}" for n in range(30 if len(times) == 1 else 1)))
        return found

    monkeypatch.setattr(remove_task, "_waiting", pushed_meanwhile)
    take_one(broker, "b")
    assert len(times) == 2
    assert order(broker).startswith("a c n1-0")


@pytest.mark.usefixtures("distance")
def test_the_expiry_of_a_queue_that_is_emptied_so_is_kept_for_its_return(broker: Broker) -> None:
    push(broker, "a")
    key = broker.lists("celery")[0]
    broker.client.pexpire(key, 100_000)
    take_one(broker, "a")
    assert not broker.client.exists(key)
    info: dict[str, str] = broker.client.hgetall(broker.keys.trash("t1", "info"))
    assert 90_000 < int(info["expires_ms"]) <= 100_000
    Trash(broker).restore("t1", by="otto")
    assert order(broker) == "a"


@pytest.mark.usefixtures("distance")
def test_a_huge_task_is_removed_and_put_back_without_being_fetched(broker: Broker) -> None:
    text = message("huge-1", args=["x" * 2_000_000])
    key = broker.lists("celery")[0]
    push(broker, "a")
    broker.client.lpush(key, text)
    push(broker, "b")
    take_one(broker, "huge-1")
    assert order(broker) == "a b"
    Trash(broker).restore("t1", by="otto")
    client: redis.Redis = broker.client
    assert client.lindex(key, 1) == text


def test_a_removed_task_can_be_deleted_for_good_and_a_clear_goes_on_beside_it(broker: Broker) -> None:
    push(broker, *"abc")
    take_one(broker, "b")
    Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="t2")
    assert {entry.id for entry in Trash(broker).list()} == {"t1", "t2"}
    Trash(broker).restore("t1", by="maria")
    Trash(broker).restore("t2", by="maria")
    assert sorted(order(broker).split()) == ["a", "b", "c"]
    take_one(broker, "c", trash_id="t3")
    Trash(broker).delete("t3", by="maria")
    with pytest.raises(Refused):
        Trash(broker).restore("t3", by="maria")
    assert selective_clear.unfinished(broker, "celery", "restoring") == []


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_and_goes_meanwhile_nothing_is_lost_or_doubled_and_each_is_where_it_belongs(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(take_out, "NEAR", [20_000, 5, -1][seed % 3])
    chance, run_order = random.Random(seed), list[str]()
    kept: dict[str, tuple[str, list[str], list[str]]] = {}
    key = broker.lists("celery")[0]
    for turn in range(120):
        what = chance.choice(["push", "push", "pop", "remove", "remove", "put back", "put back", "give back"])
        if what == "push":
            ids = [f"{turn}-{n}" for n in range(chance.randint(1, 12))]
            push(broker, *ids)
            run_order += ids
        elif what == "pop" and run_order:
            number = chance.randint(1, 8)
            broker.client.rpop(key, number)
            del run_order[:number]
        elif what == "give back":
            broker.client.rpush(key, message(f"{turn}-back"))
            run_order.insert(0, f"{turn}-back")
        elif what == "remove" and run_order:
            at = chance.randrange(len(run_order))
            task_id = run_order.pop(at)
            done = take_one(broker, task_id, trash_id=f"t{turn}")
            assert done.position == at + 1
            kept[f"t{turn}"] = (task_id, run_order[at : at + 5], run_order[max(0, at - 5) : at][::-1])
        elif what == "put back" and kept:
            trash_id = chance.choice(list(kept))
            task_id, newer, older = kept.pop(trash_id)
            at = next((run_order.index(one) for one in newer if one in run_order), -1)
            if at < 0:
                at = next((run_order.index(one) + 1 for one in older if one in run_order), 0)
            Trash(broker).restore(trash_id, by="otto")
            run_order.insert(at, task_id)
        assert order(broker).split() == run_order, (turn, what)
    assert {entry.id for entry in Trash(broker).list()} == set(kept)
