"""Held tasks out of their hold's lists, one or all of a workflow, and back to their own places."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
import redis
from support.held import put_aside
from support.holders import Nobody
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.errors import Refused
from opsdash.model.hold import Hold
from opsdash.services.broker.client import Broker, connect
from opsdash.services.failures.store import FailureStore
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.lock import locked
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.services.queues.remove_task import Removed, remove_held
from opsdash.services.queues.remove_tasks import Bin
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.workflow_trash import WorkflowTrash
from opsdash.services.workflows.cancel import by_state, cancel, plan_of
from opsdash.services.workflows.look import WorkflowReader
from opsdash.services.workflows.text import state_of

ROOT = "root-1"


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A real server alone: fakeredis's scripts know no digests."""
    made = connect(Settings.from_env({}, redis_url=valkey_url))
    yield made.client
    made.client.close()


@pytest.fixture
def hold(broker: Broker) -> Hold:
    return Holds(broker).set("task", "shop.charge", by="maria", reason="", ttl_s=600)


def held(broker: Broker, hold: Hold, ids: str, *, queue: str = "celery") -> str:
    """Words in capitals are of the workflow."""
    each = (message(one, **({"root_id": ROOT} if one.isupper() else {})) for one in ids.split())
    return put_aside(broker, hold, *each, queue=queue)


def order(broker: Broker, key: str) -> str:
    """The ids, the next to run first."""
    found = broker.client.lrange(key, 0, -1)[::-1]
    return " ".join(one.partition('"id": "')[2].partition('"')[0] for one in found)


def both(broker: Broker, key: str) -> tuple[list[str], list[str]]:
    return broker.client.lrange(key, 0, -1), broker.client.lrange(f"{key}:order", 0, -1)


def take_one(broker: Broker, task_id: str, trash_id: str = "t1", keep_s: int = 60) -> Removed:
    return remove_held(broker, "celery", task_id, by="maria", keep_s=keep_s, trash_id=trash_id)


@pytest.mark.parametrize("task_id", ["a", "b", "c", "d"])
def test_a_held_task_is_removed_and_is_held_again_at_its_own_place(broker: Broker, hold: Hold, task_id: str) -> None:
    key = held(broker, hold, "a b c d")
    before = both(broker, key)
    done = take_one(broker, task_id)
    assert (done.position, done.waiting, done.priority) == ("abcd".index(task_id) + 1, 4, 0)
    assert order(broker, key) == " ".join(sorted({*"abcd"} - {task_id}))
    assert len(both(broker, key)[1]) == 3
    (entry,) = Trash(broker).list()
    assert (entry.id, entry.task_id, entry.count, entry.queue) == ("t1", task_id, 1, "celery")
    restored = Trash(broker).restore("t1", by="otto")
    assert (restored.tasks, restored.where) == (1, "held")
    assert both(broker, key) == before
    assert broker.client.llen(broker.lists("celery")[0]) == 0
    assert Trash(broker).restore("t1", by="otto").tasks == 0


def test_what_was_held_alone_is_held_again_and_newer_ones_stay_newer(broker: Broker, hold: Hold) -> None:
    key = held(broker, hold, "a")
    take_one(broker, "a")
    assert not broker.client.exists(key)
    broker.client.lpush(key, message("n"))
    broker.client.lpush(f"{key}:order", "1764369999.000000 1764369999.000000")
    Trash(broker).restore("t1", by="otto")
    assert order(broker, key) == "a n"


def test_when_the_hold_is_over_it_goes_to_its_queue_between_its_old_neighbours(broker: Broker, hold: Hold) -> None:
    held(broker, hold, "a b c d")
    take_one(broker, "b")
    HeldTasksMover(broker).release(hold, by="maria")
    assert Trash(broker).restore("t1", by="otto").where == "behind"
    assert order(broker, broker.lists("celery")[0]) == "a b c d"


def test_many_go_out_and_back_in_any_order_and_none_is_lost(broker: Broker, hold: Hold) -> None:
    chance = random.Random(5)
    key = held(broker, hold, " ".join(f"t{n}" for n in range(60)))
    before = both(broker, key)
    ids = chance.sample([f"t{n}" for n in range(60)], 20)
    for one in ids:
        take_one(broker, one, trash_id=f"trash-{one}")
    assert len(both(broker, key)[0]) == len(both(broker, key)[1]) == 40
    for one in chance.sample(ids, len(ids)):
        Trash(broker).restore(f"trash-{one}", by="otto")
    assert both(broker, key) == before


def test_it_is_refused_where_it_is_gone_or_its_queue_is_worked_on(broker: Broker, hold: Hold) -> None:
    key = held(broker, hold, "a")
    with pytest.raises(Refused, match="is not held from queue celery any more"):
        take_one(broker, "z")
    with locked(broker, "celery", by="otto", what="release"), pytest.raises(Refused, match="worked on by otto"):
        take_one(broker, "a")
    broker.client.delete(key)
    broker.client.set(key, "another one's")
    with pytest.raises(Refused, match="is not held"):
        take_one(broker, "a")
    assert broker.client.get(key) == "another one's"


def test_times_that_another_program_has_changed_cost_the_place_and_not_the_task(broker: Broker, hold: Hold) -> None:
    key = held(broker, hold, "a b c")
    broker.client.lpop(f"{key}:order")
    take_one(broker, "b")
    assert Trash(broker).restore("t1", by="otto").tasks == 1
    assert order(broker, key) == "a c"
    assert order(broker, broker.lists("celery")[0]) == "b"


def test_a_user_without_the_right_to_insert_loses_nothing(
    broker: Broker, hold: Hold, client: redis.Redis, valkey_url: str
) -> None:
    held(broker, hold, "a b c")
    take_one(broker, "b")
    client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "~*", "&*", "+@all", "-linsert")
    try:
        other = connect(Settings.from_env({}, redis_url=valkey_url.replace("redis://", "redis://limited:pw@")))
        limited = Broker(other.client, broker.layouts, "test", broker.queues)
        assert Trash(limited).restore("t1", by="otto").tasks == 1
        other.client.close()
    finally:
        client.execute_command("ACL", "DELUSER", "limited")
    assert order(broker, broker.lists("celery")[0]) == "b"


def test_a_workflow_is_seen_and_cancelled_where_it_is_held_and_comes_back(broker: Broker, hold: Hold) -> None:
    key = held(broker, hold, "a B c D")
    emails = held(broker, hold, "E", queue="emails")
    waiting = broker.lists("celery")[0]
    broker.client.lpush(waiting, message("F", root_id=ROOT), message("g"))
    before = (both(broker, key), both(broker, emails), broker.client.lrange(waiting, 0, -1))
    reader = WorkflowReader(broker, Nobody(), Trash(broker), FailureStore(broker), lambda: broker.queues)  # type: ignore[arg-type] # in place of workers
    assert {state_of(one) for one in reader.read(ROOT).tasks if one.state == "held"} == {
        "held, from celery",
        "held, from emails",
    }
    seen = reader.look(ROOT)
    assert by_state(plan_of(seen)) == {"waiting": 1, "held": 3}
    into = Bin(id="t1", root=ROOT, by="maria", at="2026-11-29T01:00:00+00:00", until_s=int(time.time()) + 60, keep_s=60)
    done = cancel(reader, None, seen, into, terminate=False)  # type: ignore[arg-type] # no worker has anything
    assert dict(done.removed) == {"celery": 3, "emails": 1}
    assert (order(broker, key), broker.client.llen(emails), order(broker, waiting)) == ("a c", 0, "g")
    _, back = WorkflowTrash(broker).restore("t1", by="otto")
    assert (back.tasks, back.own_place) == (4, 4)
    assert (both(broker, key), both(broker, emails), broker.client.lrange(waiting, 0, -1)) == before
