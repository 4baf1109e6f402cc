"""Leases of slots, and the next task that waits for one, as Redis keeps them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.messages import message

from opsdash.model.hold import RELEASING, Hold
from opsdash.services.broker.client import Broker
from opsdash.services.pause.holds import Holds
from opsdash.worker import concurrency_limits
from opsdash.worker.concurrency_limits import lease
from opsdash.worker.slots import LEASE_S, Leased


@pytest.fixture
def limit(broker: Broker) -> Hold:
    return Holds(broker).set("limit", "shop.*", most=3, by="maria", reason="slow shop", ttl_s=600)


def renew(broker: Broker, name: str, keeps: int, asks: int, needs: int = 1, *, now: str = "", most: int = 3) -> Leased:
    return lease("slots", (), name, keeps, asks, needs, most, now=now)(broker.client)


def test_a_limit_is_read_as_it_was_set_and_is_no_hold_of_the_same_name(broker: Broker, limit: Hold) -> None:
    holds = Holds(broker)
    (found,) = holds.read().holds
    assert (found, found.most, found.reason) == (limit, 3, "slow shop")
    assert holds.find("task", "shop.*") is None
    assert holds.find("limit", "shop.*") == limit


@pytest.mark.parametrize("most", [0, -1, 10_001, "x", None])
def test_a_limit_of_a_number_that_can_not_be_is_none(broker: Broker, limit: Hold, most: Any) -> None:
    told = json.loads(limit.as_json())
    broker.client.hset(broker.keys.hold, limit.id, json.dumps(told | {"most": most}))
    assert Holds(broker).read().holds == ()


def test_all_leases_together_are_no_more_than_there_are_slots_whatever_is_asked_for(broker: Broker) -> None:
    assert renew(broker, "a", 0, 2).slots == 2
    second = renew(broker, "b", 0, 3)
    assert (second.slots, dict(second.others)) == (1, {"a": (2, 1)})
    assert renew(broker, "c", 0, 3).slots == 0
    assert renew(broker, "a", 1, 1).slots == 1, "given back"
    assert renew(broker, "c", 0, 3).slots == 1
    assert renew(broker, "b", 3, 0).slots == 3, "what runs already is counted, however much it is"
    assert renew(broker, "c", 0, 3).slots == 0
    assert renew(broker, "a", 0, 0, 0).slots == 0
    assert not broker.client.hexists("slots", "a"), "who has and needs none is forgotten"
    assert 0 < broker.client.ttl("slots") <= LEASE_S


def test_a_lease_that_is_not_renewed_ends(broker: Broker) -> None:
    assert renew(broker, "a", 0, 3, now="1000").slots == 3
    assert renew(broker, "b", 0, 3, now="1009.9").slots == 0
    assert renew(broker, "b", 0, 3, now="1010").slots == 3


def test_somebody_elses_values_are_no_lease(broker: Broker) -> None:
    broker.client.set("slots", "foreign")
    assert renew(broker, "a", 0, 3).slots == 3
    nonsense = ("many", "-3 1 9999999999", "1e9 1 99999999999", "1 4 .", "1 4 1..2", f"{10**30} 4 9999999999")
    for text in (*nonsense, f"1 {10**30} 9999999999"):
        broker.client.hset("slots", "x", text)
        assert renew(broker, "a", 0, 3).slots == 3, text
        assert broker.client.hkeys("slots") == ["a"], text


def test_a_lease_that_ends_later_than_any_can_ends_as_others_do(broker: Broker) -> None:
    assert renew(broker, "gone", 0, 3, now="5000").slots == 3
    assert renew(broker, "a", 0, 3, now="1000").slots == 0, "the clock was set back by more than an hour"
    assert renew(broker, "a", 0, 3, now="1009.9").slots == 0
    assert renew(broker, "a", 0, 3, now="1010.1").slots == 3


def test_more_workers_than_a_script_can_name_at_once_have_leases_nevertheless(broker: Broker) -> None:
    broker.client.hset("slots", mapping={f"w{number}": "1 1 1009.000" for number in range(3_000)})
    found = renew(broker, "a", 0, 3, now="1000", most=3_002)
    assert (found.slots, len(found.others)) == (2, 3_000)


@pytest.fixture
def next_one(broker: Broker, limit: Hold) -> Any:
    keys = broker.keys
    places = [(step, queue) for queue in ("celery", "emails") for step in ("0", "6")]
    lists = [keys.held(limit.id, step, queue) for step, queue in places]
    names = ["unacked", "unacked_index", keys.hold, *lists]

    def ask() -> Any:
        told = [part for place in places for part in place]
        waiting, *found = broker.client.eval(concurrency_limits._NEXT, len(names), *names, limit.id, *told)
        return (waiting, places[found[0]], *found[1:]) if found else waiting

    return ask


def put_aside(broker: Broker, limit: Hold, name: str, fetched: float, queue: str = "celery", step: str = "0") -> str:
    text = message(name, "shop.charge")
    text = text.decode() if isinstance(text, bytes) else text
    key = broker.keys.held(limit.id, step, queue)
    broker.client.lpush(key, text)
    broker.client.lpush(f"{key}:order", f"{fetched} 1764364800.0")
    return text


def test_the_next_is_of_the_best_priority_and_was_fetched_first_and_is_unacknowledged_then(
    broker: Broker, limit: Hold, next_one: Any
) -> None:
    assert next_one() == 0
    late = put_aside(broker, limit, "late", 1.0, step="6")
    second = put_aside(broker, limit, "second", 3.0)
    first = put_aside(broker, limit, "first", 2.0, queue="emails")
    for waiting, text, place, at in (
        (2, first, ("0", "emails"), "2.000000"),
        (1, second, ("0", "celery"), "3.000000"),
        (0, late, ("6", "celery"), "1.000000"),
    ):
        left, where, taken, field, fetched = next_one()
        assert (left, where, taken, fetched) == (waiting, place, text, at)
        assert json.loads(broker.client.hget("unacked", field)) == [json.loads(text), "", place[1]]
        assert broker.client.zscore("unacked_index", field) > 1
    assert next_one() == 0
    assert broker.client.hlen("unacked") == 3


def test_nothing_is_taken_while_the_limit_is_being_removed_or_is_over(
    broker: Broker, limit: Hold, next_one: Any
) -> None:
    put_aside(broker, limit, "a", 1.0)
    broker.client.hset(broker.keys.hold, f"{limit.id}{RELEASING}", "{}")
    assert next_one() == 0
    broker.client.delete(broker.keys.hold)
    assert next_one() == 0
    assert not broker.client.exists("unacked")


def test_a_message_whose_tag_is_taken_gets_a_field_of_its_own(broker: Broker, limit: Hold, next_one: Any) -> None:
    put_aside(broker, limit, "a", 1.0)
    put_aside(broker, limit, "a", 2.0)
    (_, _, _, one, _), (_, _, _, other, _) = next_one(), next_one()
    assert one != other
    assert broker.client.hlen("unacked") == broker.client.zcard("unacked_index") == 2
