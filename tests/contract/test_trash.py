"""Clear, undo, and what is between them, on fakeredis and on a real server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsdash.errors import Refused
from opsdash.services.broker import writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.queues import aside, lock
from opsdash.services.queues.read import Queues
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import take_watermark


def send(broker: Broker, *messages: str, step: int = 0, queue: str = "celery") -> None:
    broker.client.lpush(broker.lists(queue)[step], *messages)


def run_order(broker: Broker, step: int = 0, queue: str = "celery") -> list[str]:
    """What workers would take, the next one first."""
    return broker.client.lrange(broker.lists(queue)[step], 0, -1)[::-1]


def clear(broker: Broker, **over: object) -> str:
    return Queues(broker).clear("celery", **{"by": "maria", "keep_s": 60, **over}).trash_id or ""


@pytest.mark.parametrize("newer", [0, 1, 5, 40])
@pytest.mark.parametrize("cleared", [1, 5, 40])
@pytest.mark.parametrize("step", [1, 7, 100])
def test_restored_tasks_run_first_in_their_order_and_newer_ones_after_them(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, cleared: int, newer: int, step: int
):
    monkeypatch.setattr(lock, "FIRST_STEP", step)
    monkeypatch.setattr(lock, "LARGEST_STEP", step)
    old, new = [f"old {i}" for i in range(cleared)], [f"new {i}" for i in range(newer)]
    send(broker, *old)
    trash_id = clear(broker)
    if new:
        send(broker, *new)
    restored = Trash(broker).restore(trash_id, by="otto")
    entry, number = restored.entry, restored.tasks
    assert (entry.queue, number) == ("celery", cleared)
    assert run_order(broker) == old + new
    assert broker.client.ttl(broker.lists("celery")[0]) == -1, "the restored queue must not expire"


def test_each_priority_gets_its_own_tasks_back(broker: Broker):
    for step in (0, 3, 9):
        send(broker, f"a{step}", f"b{step}", step=step)
    trash_id = clear(broker)
    Trash(broker).restore(trash_id, by="maria")
    assert {step: run_order(broker, step) for step in (0, 3, 6, 9)} == {
        0: ["a0", "b0"],
        3: ["a3", "b3"],
        6: [],
        9: ["a9", "b9"],
    }


def test_a_restore_run_twice_is_done_once(broker: Broker):
    send(broker, "a", "b")
    trash_id = clear(broker)
    assert Trash(broker).restore(trash_id, by="maria").tasks == 2
    assert Trash(broker).restore(trash_id, by="maria").tasks == 0
    assert run_order(broker) == ["a", "b"]
    assert Trash(broker).list() == ()
    with pytest.raises(Refused, match=r"went back to celery at .*, by maria"):
        Trash(broker).find(trash_id)


def test_a_clear_sent_again_after_its_restore_clears_nothing(broker: Broker):
    send(broker, "a", "b")
    clear(broker, trash_id="one")
    Trash(broker).restore("one", by="maria")
    assert Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="one").total == 2
    assert run_order(broker) == ["a", "b"]


def test_the_trash_lists_what_can_be_restored_with_count_size_owner_and_end(broker: Broker):
    send(broker, "x" * 100, "y" * 100)
    send(broker, "z" * 50, step=9)
    trash_id = clear(broker)
    (entry,) = Trash(broker).list()
    assert (entry.id, entry.queue, entry.count, entry.size_bytes, entry.by) == (trash_id, "celery", 3, 250, "maria")
    assert entry.state == "kept"
    assert abs((datetime.now(UTC) - entry.at).total_seconds()) < 5
    assert 50 < (entry.expires_at - datetime.now(UTC)).total_seconds() <= 60


def test_what_is_deleted_for_good_is_gone(broker: Broker):
    send(broker, "a", "b")
    trash_id = clear(broker)
    before = set(broker.client.scan_iter())
    assert Trash(broker).delete(trash_id, by="maria").count == 2
    assert Trash(broker).list() == ()
    assert not before & set(broker.client.scan_iter())
    with pytest.raises(Refused, match="There is no such trash"):
        Trash(broker).restore(trash_id, by="maria")


def test_a_restore_that_was_begun_keeps_its_messages_for_as_long_as_it_takes(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    send(broker, "a", "b", "c")
    trash_id = clear(broker, keep_s=5)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lock.QueueLock, "join", dies)
        with pytest.raises(KeyboardInterrupt):
            Trash(broker).restore(trash_id, by="maria")
    assert broker.client.ttl(broker.keys.trash(trash_id, "0")) == -1
    assert broker.client.ttl(broker.keys.trash(trash_id, "info")) == -1
    (entry,) = Trash(broker).list()
    assert (entry.state, entry.expires_at) == ("restoring", None)
    with pytest.raises(Refused, match="must be completed first"):
        Trash(broker).delete(trash_id, by="maria")
    Trash(broker).restore(trash_id, by="maria")
    assert run_order(broker) == ["a", "b", "c"]


def test_whoever_comes_second_is_told_who_works_on_the_queue(broker: Broker):
    send(broker, "a")
    trash_id = clear(broker)
    send(broker, "b")
    with lock.locked(broker, "celery", by="otto", what="restore"):
        for act in (lambda: Trash(broker).restore(trash_id, by="maria"), lambda: clear(broker)):
            with pytest.raises(Refused, match=r"celery is being worked on by otto \(restore, since .* Nothing was"):
                act()
    assert run_order(broker) == ["b"]
    Trash(broker).restore(trash_id, by="maria")
    assert run_order(broker) == ["a", "b"]


def test_who_was_away_for_too_long_moves_nothing_any_more(broker: Broker):
    send(broker, "a")
    with lock.locked(broker, "celery", by="otto", what="restore") as held:
        broker.client.set(broker.keys.busy("celery"), "somebody else", ex=10)
        with writes.watching(), pytest.raises(Refused, match=r"Lost the queue lock\. Nothing was changed"):
            held.join(broker.lists("celery")[0], broker.lists("emails")[0])
    assert run_order(broker) == ["a"]
    assert broker.client.get(broker.keys.busy("celery")) == "somebody else", "and takes nobody's lease away"


def test_trash_that_lost_messages_is_not_half_restored(broker: Broker):
    send(broker, "a")
    send(broker, "b", step=3)
    trash_id = clear(broker)
    broker.client.delete(broker.keys.trash(trash_id, "3"))
    with pytest.raises(Refused, match="Some of its messages are gone"):
        Trash(broker).restore(trash_id, by="maria")
    assert run_order(broker) == []


@pytest.mark.parametrize("taken", [0, 2])
def test_tasks_that_arrive_after_the_preview_survive_the_clear(broker: Broker, taken: int):
    send(broker, *(f"old {i}" for i in range(5)))
    send(broker, "old 9", step=9)
    reviewed = take_watermark(broker, "celery")
    send(broker, *(f"new {i}" for i in range(3)))
    send(broker, "new 6", step=6)
    for _ in range(taken):
        broker.client.rpop(broker.lists("celery")[0])
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60, watermark=reviewed)
    assert (cleared.total, cleared.by_priority, cleared.newer) == (6 - taken, {0: 5 - taken, 9: 1}, 4)
    assert (run_order(broker), run_order(broker, 6), run_order(broker, 9)) == (
        ["new 0", "new 1", "new 2"],
        ["new 6"],
        [],
    )
    Trash(broker).restore(cleared.trash_id, by="maria")
    assert run_order(broker) == [*(f"old {i}" for i in range(taken, 5)), "new 0", "new 1", "new 2"]


def test_when_all_that_was_reviewed_has_run_nothing_is_cleared(broker: Broker):
    send(broker, "old")
    reviewed = take_watermark(broker, "celery")
    send(broker, "new 1", "new 2")
    broker.client.rpop(broker.lists("celery")[0])
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60, watermark=reviewed)
    assert (cleared.total, cleared.newer, cleared.trash_id) == (0, 2, None)
    assert run_order(broker) == ["new 1", "new 2"]


def test_a_clear_reviewed_before_a_restore_is_refused(broker: Broker):
    send(broker, "a")
    trash_id = clear(broker)
    send(broker, "b")
    reviewed = take_watermark(broker, "celery")
    Trash(broker).restore(trash_id, by="maria")
    with pytest.raises(Refused, match="restored to this queue after the preview"):
        clear(broker, watermark=reviewed)
    assert run_order(broker) == ["a", "b"]


def test_tasks_that_workers_gave_back_do_not_hide_the_watermark(broker: Broker):
    send(broker, *(f"old {i}" for i in range(4)))
    reviewed = take_watermark(broker, "celery")
    send(broker, "new")
    broker.client.rpush(broker.lists("celery")[0], *(f"given back {i}" for i in range(700)))
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60, watermark=reviewed)
    assert (cleared.total, cleared.newer, run_order(broker)) == (704, 1, ["new"])


def test_without_an_undo_window_newer_tasks_survive_too(broker: Broker):
    send(broker, *(f"old {i}" for i in range(4)))
    reviewed = take_watermark(broker, "celery")
    send(broker, "new")
    cleared = Queues(broker).clear("celery", by="maria", keep_s=0, watermark=reviewed)
    assert (cleared.total, cleared.trash_id, run_order(broker)) == (4, None, ["new"])
    assert set(broker.client.scan_iter()) == {broker.lists("celery")[0]}


def test_tasks_of_priorities_that_are_no_more_go_where_kombu_would_put_them(broker: Broker):
    send(broker, "urgent")
    send(broker, "c", "d", step=6)
    send(broker, "a", "b", step=3)
    send(broker, "late", step=9)
    trash_id = clear(broker)
    layout = replace(broker.layout, priority_steps=(0, 2, 8))
    changed = replace(broker, layouts=Layouts.fixed(broker.client, layout))
    send(changed, "new", step=2)
    assert Trash(changed).elsewhere(trash_id) == {3: 2, 6: 2, 9: 8}
    assert Trash(changed).restore(trash_id, by="maria").tasks == 6
    assert run_order(changed) == ["urgent"]
    assert run_order(changed, 2) == ["a", "b", "c", "d", "new"], "what was more urgent runs first"
    assert run_order(changed, 8) == ["late"]
    assert Trash(changed).list() == ()


@pytest.mark.parametrize("left", ["text", "a year", "list"])
def test_what_somebody_left_in_place_of_a_lock_is_in_nobodys_way(broker: Broker, left: str):
    key = broker.keys.busy("celery")
    if left == "list":
        broker.client.rpush(key, "x")
    else:
        broker.client.set(key, "{}", ex=365 * 86_400 if left == "a year" else None)
    with lock.locked(broker, "celery", by="otto", what="restore"):
        assert 0 < broker.client.pttl(key) <= lock.LEASE_S * 1_000
        with (
            pytest.raises(Refused, match="is being worked on by otto"),
            lock.locked(broker, "celery", by="x", what="y"),
        ):
            pass
    assert not broker.client.exists(key)


def test_where_nothing_waits_nothing_is_newer(broker: Broker):
    with lock.locked(broker, "celery", by="maria", what="restore") as mine:
        assert aside.Aside(mine, "celery", 0, by="maria").upto == b""
