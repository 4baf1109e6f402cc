"""Holds as a console keeps them: set, read with bounds, found, cleared; and what is held is searched like the rest."""

from __future__ import annotations

import json

import pytest
import redis
from support import held
from support.holders import Nobody
from support.messages import message

from opsdash.errors import Refused
from opsdash.model.hold import MOST_HOLDS, Hold
from opsdash.services.broker.client import Broker
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import release_held
from opsdash.services.queues.find_task import TaskFinder
from opsdash.services.queues.lock import locked
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.services.queues.results import Results
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.search_tasks import TaskQuery, TaskSearch
from opsdash.services.queues.tenant_filter import TenantFilter
from opsdash.services.queues.trash import Trash


def begin(broker: Broker, name: str = "shop.charge", queue: str = "", ttl_s: int | None = 600) -> Hold:
    return Holds(broker).set("task", name, queue, by="maria", reason="fire", ttl_s=ttl_s)


def put_aside(broker: Broker, hold: Hold, *names: str, queue: str = "celery", step: str = "0") -> None:
    held.put_aside(broker, hold, *(message(name, hold.name) for name in names), queue=queue, step=step)


def test_a_hold_is_read_as_it_was_set_with_what_it_holds(broker: Broker) -> None:
    hold = begin(broker)
    put_aside(broker, hold, "a", "b")
    put_aside(broker, hold, "c", queue="emails", step="6")
    (found,) = Holds(broker).look().holds
    assert found.hold == hold
    assert (found.hold.by, found.hold.reason, found.held, found.by_queue) == (
        "maria",
        "fire",
        3,
        {"celery": 2, "emails": 1},
    )
    assert found.oldest_at is not None
    assert found.oldest_at.timestamp() == 1764364800


def test_the_same_hold_again_replaces_its_end_and_there_are_not_more_than_a_hundred(broker: Broker) -> None:
    begin(broker)
    assert begin(broker, ttl_s=None).id == Holds(broker).read().holds[0].id
    (only,) = Holds(broker).read().holds
    assert only.expires_at is None
    for number in range(MOST_HOLDS - 1):
        begin(broker, f"shop.{number}")
    with pytest.raises(Refused, match="100 holds already"):
        begin(broker, "shop.more")
    assert len(Holds(broker).read().holds) == MOST_HOLDS


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", '{"kind": "cake", "name": "x"}', '{"kind": "task"}', json.dumps("x" * 9_000)]
)
def test_what_anybody_left_there_is_named_and_holds_nothing(broker: Broker, text: str) -> None:
    broker.client.hset(broker.keys.hold, "abc", text)
    look = Holds(broker).look()
    assert look.holds == ()
    assert len(look.unread) == 1
    broker.client.delete(broker.keys.hold)
    broker.client.set(broker.keys.hold, "a string")
    assert Holds(broker).look().holds == ()


def test_held_tasks_are_found_by_id_and_searched_by_name(broker: Broker) -> None:
    hold = begin(broker)
    put_aside(broker, hold, *(f"task-{n:08}" for n in range(5)))
    finder = TaskFinder(broker, Nobody(), Trash(broker), Results.__new__(Results), lambda: broker.queues)  # type: ignore[arg-type] # in place of workers
    found = finder.find("task-00000003")
    assert (found.state, found.queue, found.places[0].hold) == ("held", "celery", "task shop.charge")
    search = TaskSearch(broker, Nobody(), lambda: broker.queues)  # type: ignore[arg-type] # in place of workers
    first = search.page(TaskQuery(name="shop.*"), limit=2)
    rest = search.page(TaskQuery(name="shop.*"), after=first.after)
    assert [task.id for task in (*first.tasks, *rest.tasks)] == [f"task-{n:08}" for n in (4, 3, 2, 1, 0)]
    assert {task.state for task in (*first.tasks, *rest.tasks)} == {"held"}
    assert search.page(TaskQuery(name="shop.*", states=("waiting",))).tasks == ()


def test_a_release_that_another_operation_stands_in_the_way_of_changes_nothing(broker: Broker) -> None:
    hold = begin(broker)
    put_aside(broker, hold, "a")
    with (
        locked(broker, "celery", by="otto", what="restore"),
        pytest.raises(Refused, match="being worked on by otto"),
    ):
        HeldTasksMover(broker).release(hold, by="maria")
    (found,) = Holds(broker).read().holds
    assert not found.releasing
    assert HeldTasksMover(broker).release(hold, by="maria").total == 1


def test_what_is_cleared_of_each_queue_has_its_own_trash_and_goes_back(broker: Broker) -> None:
    hold = begin(broker)
    put_aside(broker, hold, "a", "b")
    put_aside(broker, hold, "c", queue="emails")
    cleared = HeldTasksMover(broker).clear(hold, by="maria", keep_s=60, act="0" * 32)
    assert {queue: number for queue, (_, number) in cleared.by_queue.items()} == {"celery": 2, "emails": 1}
    assert (cleared.total, cleared.foreign, Holds(broker).look().holds[0].held) == (3, [], 0)
    for trash_id, _ in cleared.by_queue.values():
        Trash(broker).restore(trash_id, by="maria")
    assert (broker.client.llen("" + broker.lists("celery")[0]), broker.client.llen(broker.lists("emails")[0])) == (2, 1)


def test_what_is_no_list_stays_and_is_named_and_the_rest_is_cleared(broker: Broker) -> None:
    hold = begin(broker)
    put_aside(broker, hold, "a", "b")
    put_aside(broker, hold, "c", step="6")
    put_aside(broker, hold, "d", queue="emails")
    foreign = broker.keys.held(hold.id, "0", "celery")
    broker.client.set(foreign, "another one's")
    cleared = HeldTasksMover(broker).clear(hold, by="maria", keep_s=60, act="0" * 32)
    assert {queue: number for queue, (_, number) in cleared.by_queue.items()} == {"celery": 1, "emails": 1}
    assert (cleared.foreign, broker.client.get(foreign)) == ([foreign], "another one's")
    assert foreign in cleared.remark
    assert HeldTasksMover(broker).clear(hold, by="maria", keep_s=0, act="1" * 32).foreign == [foreign]


def test_a_release_that_died_is_finished_by_another_console(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = begin(broker)
    put_aside(broker, hold, "a")
    broker.client.hset(broker.keys.hold, f"{hold.id}!", '{"by": "maria", "at": "2026-01-01T00:00:00+00:00"}')
    look = Holds(broker).look()
    due = release_held.DueHolds(broker)
    due.settle((one.hold for one in look.holds if one.hold.is_over(look.now_s)), wait_s=20)
    assert Holds(broker).read().holds == ()
    assert broker.client.llen(broker.lists("celery")[0]) == 1
    assert not broker.client.exists(broker.keys.hold_ended), "a user released it: the entry of that says so"


def test_a_release_sends_no_step_that_takes_long(broker: Broker, client: redis.Redis) -> None:
    hold = begin(broker)
    put_aside(broker, hold, *(f"h{n}" for n in range(300)))
    broker.client.lpush(broker.lists("celery")[0], *(message(f"w{n}") for n in range(250)))
    HeldTasksMover(broker).release(hold, by="maria")
    ids = [json.loads(text)["headers"]["id"] for text in broker.client.lrange(broker.lists("celery")[0], 0, -1)[::-1]]
    assert ids == [f"h{n}" for n in range(300)] + [f"w{n}" for n in range(250)]


def test_the_waiting_tasks_of_a_tenant_are_counted_by_header_and_argument(broker: Broker) -> None:
    plain = json.loads(message("a"))
    by_header = {**plain, "headers": {**plain["headers"], "tenant_id": "acme"}}
    broker.client.lpush(broker.lists("celery")[0], json.dumps(by_header), message("b"), "no JSON")
    assert sample_tasks(broker, "celery", TenantFilter("acme", "tenant_id")).number == 1
    assert sample_tasks(broker, "celery", TenantFilter("acme", "customer")).number == 0
