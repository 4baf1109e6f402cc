"""Clearing some of a queue's messages: the rest keeps its order, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from support.messages import first_protocol, message

from opsdash.errors import Refused
from opsdash.services.broker.client import Broker
from opsdash.services.queues import lock, read
from opsdash.services.queues.read import Queues
from opsdash.services.queues.selective_clear import SelectiveClear, SelectiveResult
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import take_watermark


@pytest.fixture(autouse=True, params=[1, 3, 64])
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Messages per step."""
    monkeypatch.setattr(lock, "FIRST_STEP", request.param)
    monkeypatch.setattr(lock, "LARGEST_STEP", request.param)
    return request.param


def send(broker: Broker, *messages: str, step: int = 0) -> None:
    broker.client.lpush(broker.lists("celery")[step], *messages)


def run_order(broker: Broker, step: int = 0) -> list[str]:
    return broker.client.lrange(broker.lists("celery")[step], 0, -1)[::-1]


def even(raw: bytes) -> bool:
    return raw[-1] % 2 == 0


def clear_selected(broker: Broker, matches: Callable[[bytes], bool] | None = even, **over: object) -> SelectiveResult:
    return SelectiveClear(broker).clear("celery", matches, **{"by": "maria", "keep_s": 60, "trash_id": "one", **over})


def left_over(broker: Broker) -> set[str]:
    return {key for key in broker.client.scan_iter() if ":kept:" in key or ":busy:" in key}


TEN = [f"m{i}" for i in range(10)]


def test_what_matches_goes_to_the_trash_and_the_rest_keeps_its_order(broker: Broker):
    send(broker, *TEN)
    send(broker, "n1", "n2", step=9)
    done = clear_selected(broker)
    assert (done.total, done.by_priority, done.looked_at, done.cancelled) == (6, {0: 5, 9: 1}, 12, False)
    assert (run_order(broker), run_order(broker, 9)) == (["m1", "m3", "m5", "m7", "m9"], ["n1"])
    (entry,) = Trash(broker).list()
    assert (entry.id, entry.count, entry.state) == ("one", 6, "kept")
    assert 0 < broker.client.ttl(broker.keys.trash("one", "0")) <= 60
    assert left_over(broker) == set()


def test_a_selective_clear_can_be_undone_in_order(broker: Broker):
    send(broker, *TEN)
    clear_selected(broker)
    assert Trash(broker).restore("one", by="maria").tasks == 5
    assert run_order(broker) == ["m0", "m2", "m4", "m6", "m8", "m1", "m3", "m5", "m7", "m9"]


def test_nothing_that_came_after_the_preview_is_looked_at(broker: Broker):
    send(broker, *TEN)
    reviewed = take_watermark(broker, "celery")
    send(broker, "m20", "m21", "m22")
    send(broker, "m30", step=3)
    done = clear_selected(broker, watermark=reviewed)
    assert (done.total, done.newer) == (5, 4)
    assert run_order(broker) == ["m1", "m3", "m5", "m7", "m9", "m20", "m21", "m22"]
    assert run_order(broker, 3) == ["m30"]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_tasks_that_come_and_go_meanwhile_keep_their_order(broker: Broker, after: int):
    send(broker, *TEN)
    sent, taken = [], []

    def live(at: int, of: int) -> None:
        if at > after and len(sent) < 3:
            sent.append(f"new {len(sent)}")
            send(broker, sent[-1])
            taken.append(broker.client.rpop(broker.lists("celery")[0]))

    clear_selected(broker, on_progress=live)
    left, cleared = run_order(broker), broker.client.lrange(broker.keys.trash("one", "0"), 0, -1)[::-1]
    assert sorted([*taken, *left, *cleared]) == sorted([*TEN, *sent]), "nothing lost, nothing doubled"
    assert left == [m for m in [*TEN, *sent] if m in left]
    assert cleared == [m for m in TEN[::2] if m not in taken]


def test_cancelled_half_way_all_is_in_its_place_and_what_was_cleared_can_be_undone(broker: Broker, step: int):
    send(broker, *TEN)
    answers = iter([False, False, True])
    done = clear_selected(broker, cancelled=lambda: next(answers))
    cleared = broker.client.lrange(broker.keys.trash("one", "0"), 0, -1)
    assert run_order(broker) == [m for m in TEN if m not in cleared]
    assert (done.total, done.cancelled) == (len(cleared), True) if step < 10 else True
    assert left_over(broker) == set()


@pytest.mark.parametrize("call", range(1, 14))
def test_killed_at_any_step_the_next_one_finishes_it_and_nothing_is_lost_or_out_of_order(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, call: int
):
    send(broker, *TEN)
    calls = iter(range(1, 1_000))
    run = lock.QueueLock.run

    def dies(*args: object) -> object:
        if next(calls) == call:
            raise KeyboardInterrupt
        return run(*args)

    with monkeypatch.context() as patch:
        patch.setattr(lock.QueueLock, "run", dies)
        with contextlib.suppress(KeyboardInterrupt):
            clear_selected(broker)
    send(broker, "new")
    Queues(broker)._finish_broken("celery", "maria")
    cleared = [m for m in broker.client.lrange(broker.keys.trash("one", "0"), 0, -1)[::-1] if m]
    assert run_order(broker) == [m for m in TEN if m not in cleared] + ["new"]
    assert left_over(broker) == set()
    if cleared:
        assert Trash(broker).restore("one", by="maria").tasks == len(cleared)
    assert run_order(broker) == cleared + [m for m in TEN if m not in cleared] + ["new"]


def test_two_at_once_the_second_is_refused_and_told_who_runs_the_first(broker: Broker):
    send(broker, *TEN)

    def second(at: int, of: int) -> None:
        with pytest.raises(Refused, match=r"is being worked on by maria \(selective clear, since"):
            clear_selected(broker, trash_id="two", by="otto")

    clear_selected(broker, on_progress=second)
    assert run_order(broker) == ["m1", "m3", "m5", "m7", "m9"]


def test_nothing_that_matches_leaves_no_trace(broker: Broker):
    send(broker, *TEN)
    assert clear_selected(broker, lambda _raw: False).total == 0
    assert run_order(broker) == TEN
    assert set(broker.client.scan_iter()) == {broker.lists("celery")[0], broker.keys.restores}


def test_a_clear_with_many_newer_tasks_leaves_them_all_in_order(broker: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read, "FEW", 3)
    send(broker, *TEN)
    send(broker, "n1", step=9)
    reviewed = take_watermark(broker, "celery")
    newer = [f"new {i}" for i in range(9)]
    send(broker, *newer)
    done = Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="one", watermark=reviewed)
    assert (done.total, done.by_priority, done.newer, done.trash_id) == (11, {0: 10, 9: 1}, 9, "one")
    assert (run_order(broker), run_order(broker, 9)) == (newer, [])
    Trash(broker).restore("one", by="maria")
    assert (run_order(broker), run_order(broker, 9)) == (TEN + newer, ["n1"])


def test_where_the_watermark_is_gone_what_was_seen_goes_and_the_rest_counts_as_newer(broker: Broker):
    send(broker, "m0", "m1")
    send(broker, "n0", step=9)
    reviewed = take_watermark(broker, "celery")
    broker.client.delete(*broker.lists("celery").values())  # workers took them all, and some come back
    send(broker, "new 1", "m1 given back", "m0 given back", "new 2")
    send(broker, "new 3", step=3)
    send(broker, "n0", step=9)
    done = Queues(broker).clear(
        "celery", by="maria", keep_s=60, trash_id="one", watermark=reviewed, also=lambda text: b"given back" in text
    )
    assert (done.total, done.by_priority, done.newer, done.trash_id) == (3, {0: 2, 9: 1}, 3, "one")
    assert (run_order(broker), run_order(broker, 3), run_order(broker, 9)) == (["new 1", "new 2"], ["new 3"], [])
    Trash(broker).restore("one", by="maria")
    assert run_order(broker) == ["m1 given back", "m0 given back", "new 1", "new 2"]
    assert left_over(broker) == set()


def test_lists_that_are_empty_need_no_looking_at(broker: Broker, monkeypatch: pytest.MonkeyPatch):
    send(broker, *TEN)
    reviewed = take_watermark(broker, "celery")
    monkeypatch.setattr(SelectiveClear, "clear", None)  # it is one step of Redis
    done = Queues(broker).clear("celery", by="maria", keep_s=60, watermark=reviewed, also=lambda _text: False)
    assert done.total == 10


def test_by_name_those_that_redis_does_not_send_are_those_that_are_not_meant(broker: Broker):
    meant, other = message(task="shop.charge"), message(task="shop.mail", args=['"task": "shop.charge"'])
    nested = message(task="shop.charge").replace('"lang": "py"', '"stamps": {"task": "shop.mail"}')
    spaced = json.dumps(json.loads(meant), separators=(",", ":"))
    escaped = message(task="shop.chargé").replace("shop.charg", "shop.\\u0063harg")
    later = json.dumps({"x": {"headers": {"task": "shop.mail"}}, **json.loads(meant)})
    texts = [meant, other, nested, spaced, escaped, first_protocol("1", "shop.charge"), first_protocol("2"), later, "{"]
    texts += [meant.replace("shop.charge", "shop.mail")[:-1], message(task="shop.mail", pad='"headers": {"task": "x"')]
    for by in (TaskFilter(task="shop.charg*"), TaskFilter(task="shop.charge", containing="x"), TaskFilter(task="*")):
        broker.client.delete(broker.lists("celery")[0])
        waiting = [text for _ in range(3) for text in texts]
        send(broker, *waiting)
        done = clear_selected(broker, by, trash_id=by.task + by.containing)
        assert run_order(broker) == [text for text in waiting if not by(text.encode())]
        assert (done.total, done.looked_at) == (sum(by(text.encode()) for text in waiting), len(waiting))
