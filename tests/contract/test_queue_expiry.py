"""Queues declared with ``expires``: nothing of theirs ends while opsdash holds it; afterwards they expire again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.services import until

from opsdash.model.queue_expiry import RECONCILE, UNDECLARED_MS, Reconciled, arguments
from opsdash.services.broker import queue_expiry
from opsdash.services.broker.client import Broker
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.queues import lock
from opsdash.services.queues import read as queues
from opsdash.services.queues.read import Queues
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import take_watermark

EXPIRES_MS = 200_000
SHORT_MS = 150
FOREIGN = ["text", "list", "set", "zset"]


def publish(broker: Broker, *messages: str, ms: int = EXPIRES_MS, step: int = 0, queue: str = "celery") -> None:
    """As kombu 5.7 does: the TTL of all the queue's lists, anew."""
    lists = broker.lists(queue)
    broker.client.lpush(lists[step], *messages)
    for key in lists.values():
        broker.client.pexpire(key, ms)


def left_ms(broker: Broker, step: int = 0, queue: str = "celery") -> int:
    return broker.client.pttl(broker.lists(queue)[step])


def run_order(broker: Broker, step: int = 0, queue: str = "celery") -> list[str]:
    return broker.client.lrange(broker.lists(queue)[step], 0, -1)[::-1]


def pause(broker: Broker, queue: str | None = None, ttl_s: int = 600) -> None:
    PauseFlags(broker).pause(queue, by="maria", reason="", ttl_s=ttl_s)


def reconcile(broker: Broker, **declared: int | None) -> Reconciled:
    """As a worker does, or a console."""
    suffixes = [broker.separator + str(step) if step else "" for step in broker.priority_steps]
    reply: Any = broker.client.eval(RECONCILE, *arguments(broker.keys, declared, suffixes))
    return Reconciled(*reply)


def outlive(broker: Broker, ms: int = SHORT_MS) -> None:
    """Waits until a list that still had this TTL would be gone."""
    broker.client.set("sentry", "x", px=ms)
    assert until(lambda: not broker.client.exists("sentry"))


def no_ttl_but_the_queues(broker: Broker) -> bool:
    """No list of the trash, and nothing kept aside, is about to end."""
    mine = set(broker.lists("celery").values())
    lists = [key for key in broker.client.scan_iter(_type="list") if key not in mine]
    return all(not 0 <= broker.client.pttl(key) < 50_000 for key in lists)


@pytest.mark.parametrize("queue", [None, "celery"])
def test_a_paused_queue_does_not_expire_and_does_again_after_the_resume(broker: Broker, queue: str | None):
    publish(broker, "a", "b", ms=SHORT_MS)
    publish(broker, "c", ms=SHORT_MS, step=6)
    pause(broker, queue)
    outlive(broker)
    assert (run_order(broker), run_order(broker, 6)) == (["a", "b"], ["c"])
    assert PauseFlags(broker).resume(queue)
    assert 0 < left_ms(broker) <= UNDECLARED_MS, "what was declared is not known here, so it is given at least a minute"
    assert 0 < left_ms(broker, 6) <= UNDECLARED_MS
    assert not broker.client.exists(broker.keys.expires), "nothing is left behind"


def test_another_queue_expires_as_ever(broker: Broker):
    publish(broker, "a", ms=SHORT_MS, queue="emails")
    pause(broker, "celery")
    outlive(broker)
    assert run_order(broker, queue="emails") == []


def test_a_producer_that_publishes_during_the_pause_does_not_bring_the_end_back(broker: Broker):
    pause(broker, "celery")
    publish(broker, "a", ms=SHORT_MS)
    reconcile(broker, celery=None)
    outlive(broker)
    publish(broker, "b", ms=EXPIRES_MS)
    reconcile(broker, celery=None)
    assert run_order(broker) == ["a", "b"]
    PauseFlags(broker).resume("celery")
    assert UNDECLARED_MS < left_ms(broker) <= EXPIRES_MS, "the longest that was seen"


def test_what_a_worker_knows_to_be_declared_is_given_back_in_full_by_whoever_resumes(broker: Broker):
    reconcile(broker, celery=EXPIRES_MS, emails=0)
    publish(broker, "a", ms=SHORT_MS)
    pause(broker)
    outlive(broker)
    PauseFlags(broker).resume(None)
    assert EXPIRES_MS - 5_000 < left_ms(broker) <= EXPIRES_MS


def test_a_queue_that_only_workers_know_is_kept_by_a_console_too(broker: Broker):
    reconcile(broker, orders=EXPIRES_MS)
    publish(broker, "a", ms=SHORT_MS, queue="orders")
    pause(broker)
    outlive(broker)
    assert run_order(broker, queue="orders") == ["a"]


def test_a_queue_declared_without_expiry_since_then_gets_back_what_its_lists_had(broker: Broker):
    reconcile(broker, celery=5_000)
    reconcile(broker, celery=0)
    publish(broker, "a")
    pause(broker)
    PauseFlags(broker).resume(None)
    assert EXPIRES_MS - 5_000 < left_ms(broker) <= EXPIRES_MS


@pytest.mark.long
@pytest.mark.parametrize("end", ["by hand", "by its time"])
def test_a_pause_that_ends_without_a_resume_gives_the_expiry_back_at_the_next_look(broker: Broker, end: str):
    publish(broker, "a")
    pause(broker, "celery", ttl_s=1)
    reconcile(broker, celery=None)
    assert left_ms(broker) == -1
    if end == "by hand":
        broker.client.delete(broker.keys.pause("celery"))
    assert until(lambda: not broker.client.exists(broker.keys.pause("celery")))
    queue_expiry.reconcile(broker, [])
    assert UNDECLARED_MS < left_ms(broker) <= EXPIRES_MS
    assert not broker.client.exists(broker.keys.expires)


def test_a_queue_that_is_paused_twice_expires_again_only_after_both(broker: Broker):
    publish(broker, "a")
    pause(broker)
    pause(broker, "celery")
    PauseFlags(broker).resume(None)
    assert left_ms(broker) == -1
    PauseFlags(broker).resume("celery")
    assert left_ms(broker) > 0


def test_a_queue_that_does_not_expire_is_left_as_it_is(broker: Broker):
    broker.client.lpush(broker.lists("celery")[0], "a")
    pause(broker)
    assert reconcile(broker, celery=None, emails=None) == Reconciled(0, 0)
    PauseFlags(broker).resume(None)
    assert left_ms(broker) == -1


def test_the_shortest_expiry_says_how_soon_to_look_again(broker: Broker):
    assert reconcile(broker, celery=900).again_s == 2.0, "nothing is held"
    pause(broker, "celery")
    assert reconcile(broker, celery=900).again_s == 0.3
    publish(broker, "a", ms=EXPIRES_MS)
    assert reconcile(broker, celery=0).again_s == 2.0


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["expires", "expires_declared"])
def test_foreign_values_in_place_of_what_is_noted_are_swept_aside(broker: Broker, name: str, kind: str):
    key = getattr(broker.keys, name)
    {
        "text": lambda: broker.client.set(key, "x"),
        "list": lambda: broker.client.lpush(key, "x"),
        "set": lambda: broker.client.sadd(key, "x"),
        "zset": lambda: broker.client.zadd(key, {"x": 1}),
    }[kind]()
    publish(broker, "a", ms=SHORT_MS)
    pause(broker)
    outlive(broker)
    assert run_order(broker) == ["a"]
    PauseFlags(broker).resume(None)
    assert left_ms(broker) > 0


def test_nonsense_among_what_is_noted_touches_no_other_key(broker: Broker):
    mine = broker.lists("celery")[0]
    broker.client.lpush("somebody's", "x")
    tally = f"{broker.keys.prefix}celery:tally"
    broker.client.set(tally, "7")
    noted = {"somebody's": "5:celery", mine: "9" * 400, tally: "5:celery", "": "", "x": "-1:"}
    broker.client.hset(broker.keys.expires, mapping=noted)
    broker.client.hset(broker.keys.expires_declared, mapping={"celery": "0x7", "emails": "-3", "": "nan"})
    broker.client.lpush(mine, "a")
    assert reconcile(broker, celery=None) == Reconciled(0, 0)
    assert not broker.client.exists(broker.keys.expires)
    assert (broker.client.ttl("somebody's"), left_ms(broker)) == (-1, -1)
    assert broker.client.ttl(tally) == -1


def test_a_key_of_the_queue_that_is_no_list_keeps_its_own_end(broker: Broker):
    broker.client.set(broker.lists("celery")[0], "x", px=EXPIRES_MS)
    pause(broker)
    reconcile(broker, celery=EXPIRES_MS)
    assert left_ms(broker) > 0


def test_kombus_bindings_are_not_swept_while_nobody_may_consume(broker: Broker):
    seconds, _ = broker.client.time()
    soon, late = seconds * 1000 - 1, seconds * 1000 + 10**9
    broker.client.zadd(broker.keys.binding_deadlines, {"orders": soon, "later": late})
    reconcile(broker, celery=1_000)
    assert broker.client.zscore(broker.keys.binding_deadlines, "orders") == soon, "nothing is paused"
    pause(broker)
    assert broker.client.zscore(broker.keys.binding_deadlines, "orders") >= soon + 3_600_000 - 1_000
    assert broker.client.zscore(broker.keys.binding_deadlines, "later") == late


# --- clearing and restoring


def test_the_trash_of_an_expiring_queue_lasts_for_the_undo_window_and_newer_tasks_expire_as_before(broker: Broker):
    publish(broker, "a", "b", "c", ms=5_000)
    boundary = take_watermark(broker, "celery")
    publish(broker, "new", ms=5_000)
    cleared = Queues(broker).clear("celery", by="maria", keep_s=600, watermark=boundary)
    assert (cleared.total, run_order(broker)) == (3, ["new"])
    assert 0 < left_ms(broker) <= 5_000
    assert broker.client.ttl(broker.keys.trash(cleared.trash_id or "", "0")) > 500


@pytest.mark.parametrize("newer", [0, 1, 30])
@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_a_restored_queue_expires_again_and_not_before_all_is_back(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, step: int, newer: int
):
    monkeypatch.setattr(lock, "FIRST_STEP", step)
    monkeypatch.setattr(lock, "LARGEST_STEP", step)
    old, new = [f"old {i}" for i in range(10)], [f"new {i}" for i in range(newer)]
    publish(broker, *old)
    trash_id = Queues(broker).clear("celery", by="maria", keep_s=600).trash_id or ""
    if new:
        publish(broker, *new, ms=SHORT_MS)
    steps: list[int] = []

    def on_progress(left: int) -> None:
        if not steps:
            outlive(broker)
        steps.append(left)
        assert no_ttl_but_the_queues(broker)

    Trash(broker).restore(trash_id, by="otto", on_progress=on_progress)
    assert run_order(broker) == old + new
    assert UNDECLARED_MS < left_ms(broker) <= EXPIRES_MS
    assert not broker.client.exists(broker.keys.expires)


@pytest.mark.long
def test_a_producer_that_publishes_in_the_middle_of_a_restore_does_not_end_the_queue(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lock, "LARGEST_STEP", 1)
    monkeypatch.setattr(lock, "FIRST_STEP", 1)
    publish(broker, *(f"old {i}" for i in range(10)))
    trash_id = Queues(broker).clear("celery", by="maria", keep_s=600).trash_id or ""
    first_ms, late_ms = 6 * SHORT_MS, 15 * SHORT_MS  # a busy machine takes its time for a step
    publish(broker, *(f"new {i}" for i in range(8)), ms=first_ms)
    calls: list[int] = []

    def on_progress(left: int) -> None:
        calls.append(left)
        if len(calls) == 1:
            publish(broker, "late", ms=late_ms)
            outlive(broker, first_ms)
        elif len(calls) == 3:
            outlive(broker, late_ms)

    Trash(broker).restore(trash_id, by="otto", on_progress=on_progress)
    assert len(run_order(broker)) == 19


def test_a_queue_that_begins_to_expire_in_the_middle_of_a_restore_goes_on_expiring(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lock, "LARGEST_STEP", 1)
    monkeypatch.setattr(lock, "FIRST_STEP", 1)
    broker.client.lpush(broker.lists("celery")[0], *(f"old {i}" for i in range(10)))
    trash_id = Queues(broker).clear("celery", by="maria", keep_s=600).trash_id or ""
    broker.client.lpush(broker.lists("celery")[0], "new 1", "new 2", "new 3")
    calls: list[int] = []

    def on_progress(left: int) -> None:
        calls.append(left)
        if len(calls) == 1:
            publish(broker, "late")

    Trash(broker).restore(trash_id, by="otto", on_progress=on_progress)
    assert len(run_order(broker)) == 14
    assert 0 < left_ms(broker) <= EXPIRES_MS


def test_what_is_restored_into_a_paused_queue_expires_only_after_the_resume(broker: Broker):
    publish(broker, "a")
    trash_id = Queues(broker).clear("celery", by="maria", keep_s=600).trash_id or ""
    pause(broker, "celery")
    Trash(broker).restore(trash_id, by="otto")
    assert (run_order(broker), left_ms(broker)) == (["a"], -1)
    PauseFlags(broker).resume("celery")
    assert UNDECLARED_MS < left_ms(broker) <= EXPIRES_MS


def test_what_is_cleared_while_paused_expires_again_once_it_is_restored(broker: Broker):
    publish(broker, "a")
    pause(broker)
    trash_id = Queues(broker).clear("celery", by="maria", keep_s=600).trash_id or ""
    PauseFlags(broker).resume(None)
    Trash(broker).restore(trash_id, by="otto")
    assert run_order(broker) == ["a"]
    assert UNDECLARED_MS < left_ms(broker) <= EXPIRES_MS


@pytest.mark.long
@pytest.mark.parametrize("matches", [lambda raw: raw[-1] % 2 == 0, None], ids=["some", "all"])
@pytest.mark.parametrize("step", [1, 3, 1_000])
def test_a_selective_clear_outlasts_the_queues_expiry_and_leaves_it_behind(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, step: int, matches: Callable[[bytes], bool] | None
):
    monkeypatch.setattr(lock, "FIRST_STEP", step)
    monkeypatch.setattr(lock, "LARGEST_STEP", step)
    ten = [f"m{i}" for i in range(10)]
    publish(broker, *ten, ms=SHORT_MS)
    waited: list[int] = []

    def on_progress(at: int, of: int) -> None:
        if not waited:
            outlive(broker)
            publish(broker, "new", ms=EXPIRES_MS)  # a producer sets the TTL anew, in the middle of it
        waited.append(at)
        assert no_ttl_but_the_queues(broker)

    done = SelectiveClear(broker).clear(
        "celery", matches, by="maria", keep_s=600, trash_id="one", on_progress=on_progress
    )
    stays = [m for m in ten if matches is not None and not matches(m.encode())]
    assert (done.total, run_order(broker)) == (10 - len(stays), [*stays, "new"])
    assert 0 < left_ms(broker) <= EXPIRES_MS
    assert broker.client.ttl(broker.keys.trash("one", "0")) > 500
    broker.client.delete(broker.lists("celery")[0])
    Trash(broker).restore("one", by="otto")
    assert len(run_order(broker)) == done.total
    assert 0 < left_ms(broker) <= EXPIRES_MS, "the trash remembers that the queue expires"


def test_a_clear_with_many_newer_tasks_leaves_the_expiry_too(broker: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queues, "FEW", 2)
    publish(broker, *(f"old {i}" for i in range(6)))
    boundary = take_watermark(broker, "celery")
    publish(broker, *(f"new {i}" for i in range(6)))
    cleared = Queues(broker).clear("celery", by="maria", keep_s=600, watermark=boundary)
    assert (cleared.total, cleared.newer) == (6, 6)
    assert UNDECLARED_MS < left_ms(broker) <= EXPIRES_MS
    assert broker.client.ttl(broker.keys.trash(cleared.trash_id or "", "0")) > 500


def test_a_clear_that_was_killed_gives_the_expiry_back_once_its_lock_is_over(broker: Broker):
    publish(broker, "a")
    broker.client.set(broker.keys.busy("celery"), "{}", px=SHORT_MS)
    reconcile(broker, celery=None)
    assert left_ms(broker) == -1
    assert until(lambda: not broker.client.exists(broker.keys.busy("celery")))
    queue_expiry.reconcile(broker, [])
    assert left_ms(broker) > 0


def test_a_redis_that_refuses_the_script_costs_the_pause_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(queue_expiry, "RECONCILE", "return redis.call('NOSUCHCOMMAND')")
    pause(broker)
    assert None in PauseFlags(broker).read(())
    assert "could not be looked after" in caplog.text
