"""What anybody may have left beside the holds: it loses and doubles nothing, and no release waits for it for ever."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from support.messages import message

from opsdash.model.hold import Hold
from opsdash.services.broker.client import Broker
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.worker import hold_release
from opsdash.worker.message_origin import Origin
from opsdash.worker.set_aside import FETCHED, Held, set_aside
from opsdash.worker.unacked import unacked_keys

pytestmark = pytest.mark.parametrize("client", ["valkey"], indirect=True)


class Request(SimpleNamespace):
    """Celery keeps its requests in weak sets."""

    __hash__ = object.__hash__


@pytest.fixture
def raw(broker: Broker) -> Iterator[redis.Redis]:
    """A worker's client of the same server: bytes."""
    given = dict(broker.client.connection_pool.connection_kwargs)
    client = redis.Redis(host=given["host"], port=given["port"], db=given.get("db", 0))
    yield client
    client.close()


def begin(broker: Broker) -> Hold:
    return Holds(broker).set("task", "shop.charge", by="maria", reason="fire", ttl_s=600)


def fetched(raw: redis.Redis, broker: Broker, *places: tuple[str, str]) -> tuple[Any, list[Any]]:
    """A worker's channel, and the requests of messages that it has fetched: names and queues."""
    prefix = broker.keys.prefix
    channel = SimpleNamespace(
        global_keyprefix=prefix,
        sep="\x06\x16",
        client=SimpleNamespace(connection_pool=raw.connection_pool),
        qos=SimpleNamespace(unacked_key="unacked", unacked_index_key="unacked_index", _delivered={}),
    )
    unacked, index = unacked_keys(channel)
    requests = []
    for at, (name, queue) in enumerate(places):
        body = message(name, "shop.charge").encode()
        raw.hset(unacked, name, body)
        raw.zadd(index, {name: at})
        origin = Origin(queue, f"{prefix}{queue}", body)
        told = SimpleNamespace(delivery_tag=name, opsdash_origin=origin, channel=channel)
        requests.append(Request(message=told, acknowledged=False, name="shop.charge", id=name))
    return channel, requests


@pytest.mark.parametrize("order", ["nonsense", "", "nan x", "\udcff".encode(errors="surrogateescape")])
def test_an_order_that_is_none_of_ours_leaves_no_script_half_way(
    broker: Broker, raw: redis.Redis, order: str | bytes
) -> None:
    hold = begin(broker)
    held = broker.keys.held(hold.id, "0", "emails")
    raw.lpush(held, "x")
    raw.lpush(f"{held}:order", order)
    channel, requests = fetched(raw, broker, ("a", "celery"), ("b", "emails"))
    done, left = set_aside(channel, [Held(request=request, ids=(hold.id,)) for request in requests])
    assert (dict(done), left) == ({"held": 2}, [])
    assert raw.llen(held) == 2


@pytest.mark.parametrize("who", ["no JSON", "[" * 3_000, b"\xff", "[]", '{"by": []}'])
def test_a_worker_ends_a_hold_whose_release_was_begun_by_nobody_known(
    broker: Broker, raw: redis.Redis, who: str | bytes
) -> None:
    hold = begin(broker)
    raw.hset(broker.keys.hold, f"{hold.id}!", who)
    link: Any = SimpleNamespace(redis=raw, keys=broker.keys)
    hold_release.release_ended(link, [hold.id])
    assert Holds(broker).read().holds == ()


@pytest.mark.parametrize("queue", ["é" * 300, "q" * 600, "q" * 890, "a:b *?[c]", "日本", " ", "::", "a\nb"])
@pytest.mark.parametrize("by", ["a console", "a worker"])
def test_a_hold_of_any_queue_name_ends(broker: Broker, raw: redis.Redis, queue: str | bytes, by: str) -> None:
    hold = begin(broker)
    name = queue.encode() if isinstance(queue, str) else queue
    prefix = broker.keys.prefix.encode()
    field, held = (
        f"{hold.id}:0:".encode() + name,
        f"{broker.keys.held_lists}:".encode() + name + f":{hold.id}:0".encode(),
    )
    raw.hset(broker.keys.held_lists, field, prefix + name)
    raw.lpush(held, message("a", "shop.charge"))
    if by == "a worker":
        link: Any = SimpleNamespace(redis=raw, keys=broker.keys)
        hold_release.release_ended(link, [hold.id])
    else:
        assert HeldTasksMover(broker).release(hold, by="maria").ended
    assert Holds(broker).read().holds == ()
    assert raw.llen(prefix + name) == 1


@pytest.mark.parametrize("by", ["a console", "a worker"])
def test_a_value_in_the_place_of_a_held_list_does_not_keep_a_hold_for_ever(
    broker: Broker, raw: redis.Redis, by: str
) -> None:
    hold = begin(broker)
    for queue in ("celery", "emails"):
        raw.hset(broker.keys.held_lists, f"{hold.id}:0:{queue}", broker.lists(queue)[0])
    raw.set(broker.keys.held(hold.id, "0", "celery"), "foreign")
    raw.lpush(broker.keys.held(hold.id, "0", "emails"), message("a", "shop.charge"))
    if by == "a worker":
        link: Any = SimpleNamespace(redis=raw, keys=broker.keys)
        hold_release.release_ended(link, [hold.id])
    else:
        assert HeldTasksMover(broker).release(hold, by="maria").ended
    assert raw.llen(broker.lists("emails")[0]) == 1
    assert Holds(broker).read().holds == ()
    assert raw.get(broker.keys.held(hold.id, "0", "celery")) == b"foreign"


def test_a_worker_ends_a_hold_of_a_queue_whose_name_is_no_text(broker: Broker, raw: redis.Redis) -> None:
    hold = begin(broker)
    queue, prefix = b"\xff\xfe", broker.keys.prefix.encode()
    raw.hset(broker.keys.held_lists, f"{hold.id}:0:".encode() + queue, prefix + queue)
    raw.lpush(f"{broker.keys.held_lists}:".encode() + queue + f":{hold.id}:0".encode(), message("a", "shop.charge"))
    link: Any = SimpleNamespace(redis=raw, keys=broker.keys)
    hold_release.release_ended(link, [hold.id])
    assert Holds(broker).read().holds == ()
    assert raw.llen(prefix + queue) == 1


def test_a_task_whose_queue_nobody_would_find_again_runs(broker: Broker, raw: redis.Redis) -> None:
    hold = begin(broker)
    channel, requests = fetched(raw, broker, ("a", "q" * 1_000), ("b", "celery"))
    done, left = set_aside(channel, [Held(request=request, ids=(hold.id,)) for request in requests])
    assert (dict(done), left) == ({"long": 1, "held": 1}, requests[:1])
    assert Holds(broker).look().holds[0].by_queue == {"celery": 1}


@pytest.mark.long
def test_a_hold_with_more_lists_than_are_read_at_once_ends(
    broker: Broker, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.services.queues.release_held.MOST_LISTS", 600, raising=False)
    monkeypatch.setattr("opsdash.services.pause.holds.MOST_LISTS", 600)
    hold = begin(broker)
    raw.hset(broker.keys.held_lists, mapping={f"{hold.id}:0:q{n}": f"{broker.keys.prefix}q{n}" for n in range(1_300)})
    assert HeldTasksMover(broker).release(hold, by="maria").ended


def test_what_is_set_aside_again_has_the_place_of_its_first_fetch(broker: Broker, raw: redis.Redis) -> None:
    hold = begin(broker)
    channel, requests = fetched(raw, broker, *((name, "celery") for name in "abcd"))
    for request, at in zip(requests, ("", "2.5", "0.5", "nonsense"), strict=True):
        setattr(request.message, FETCHED, at)
    set_aside(channel, [Held(request=request, ids=(hold.id,)) for request in requests])
    held = raw.lrange(broker.keys.held(hold.id, "0", "celery"), 0, -1)
    names = {request.message.opsdash_origin.raw: request.id for request in requests}
    assert [names[text] for text in reversed(held)] == ["a", "c", "b", "d"]
