"""Messages go back to the list they were fetched from: a real broker, and kombu's own channel."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery.worker import state as worker_state
from kombu import Connection, Consumer, Exchange, Queue
from support.services import Valkey

from opsdash.worker import celery_private, message_origin, requeue
from opsdash.worker.requeue import PutBack

ORDERS = Exchange("orders", type="topic")
BILLING, STOCK = (Queue(name, ORDERS, routing_key="order.#") for name in ("billing", "stock"))
PLAIN = Queue("plain")


class Request:
    """As much of Celery's request as the way back needs."""

    def __init__(self, message: Any) -> None:
        self.message, self.id, self.acknowledged = message, message.delivery_tag, False


class Fetching:
    """A channel that fetches as a worker's does."""

    def __init__(self, url: str, queues: list[Queue], **transport: Any) -> None:
        self.connection = Connection(url, transport_options={"priority_steps": [0, 3, 6, 9], **transport})
        self.channel = self.connection.default_channel
        self.fetches = message_origin.Fetches(self.channel)
        requeue.replace_restore(self.channel)
        self.got: list[Request] = []
        self.consumer = Consumer(
            self.channel, queues, on_message=lambda message: self.got.append(Request(message)), auto_declare=True
        )
        self.consumer.qos(prefetch_count=0)

    def send(self, key: str, *, exchange: Any = ORDERS, number: int = 1, priority: int = 0) -> None:
        with Connection(self.connection.as_uri(include_password=True)) as other:
            other.transport_options = self.connection.transport_options
            producer = other.Producer()
            for n in range(number):
                declared = [exchange] if exchange.name else []
                producer.publish({"n": n}, exchange=exchange, routing_key=key, priority=priority, declare=declared)

    def fetch(self, number: int) -> list[Request]:
        with self.consumer:
            while len(self.got) < number:
                self.connection.drain_events(timeout=5)
        return self.got


@pytest.fixture
def fetching(valkey: Valkey) -> Iterator[Callable[..., Fetching]]:
    made: list[Fetching] = []

    def make(*queues: Queue, **transport: Any) -> Fetching:
        made.append(Fetching(valkey.url, list(queues), **transport))
        return made[-1]

    yield make
    for one in made:
        one.connection.release()


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url) as made:
        yield made


def test_a_copy_of_a_publish_to_two_queues_goes_back_to_its_own_queue_only(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one = fetching(BILLING, STOCK)
    one.fetch(0)
    one.send("order.new", number=3)
    before = {name: client.lrange(name, 0, -1) for name in ("billing", "stock")}
    fetched = one.fetch(6)
    assert client.hlen("unacked") == 6, "copies share a delivery tag, and each has an entry of its own"
    assert requeue.put_back(one.channel, reversed(fetched)) == PutBack(moved=6)
    assert {name: client.lrange(name, 0, -1) for name in ("billing", "stock")} == before, "byte for byte, in order"
    assert (client.hlen("unacked"), client.zcard("unacked_index")) == (0, 0)


def test_a_copy_that_another_queues_consumer_acknowledged_first_is_not_lost(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one, other = fetching(BILLING), fetching(STOCK)
    one.fetch(0), other.fetch(0)
    one.send("order.new")
    (mine,), (theirs,) = one.fetch(1), other.fetch(1)
    theirs.message.ack()
    assert requeue.put_back(one.channel, [mine]) == PutBack(moved=1)
    assert (client.llen("billing"), client.llen("stock"), client.hlen("unacked")) == (1, 0, 0)


@pytest.mark.parametrize("bindings", ["kept", "deleted", "more"])
def test_bindings_that_come_and_go_meanwhile_change_nothing(
    fetching: Callable[..., Fetching], client: redis.Redis, bindings: str
) -> None:
    one = fetching(BILLING)
    one.fetch(0)
    one.send("order.new", number=2)
    fetched = one.fetch(2)
    if bindings == "deleted":
        client.delete("_kombu.binding.orders")
    elif bindings == "more":
        fetching(STOCK).fetch(0)
    requeue.put_back(one.channel, reversed(fetched))
    assert (client.llen("billing"), client.llen("stock")) == (2, 0)


@pytest.mark.parametrize("prefix", ["", "mine:"])
def test_priorities_prefix_and_a_foreign_senders_spelling_stay_as_they_are(
    fetching: Callable[..., Fetching], client: redis.Redis, prefix: str
) -> None:
    one = fetching(PLAIN, global_keyprefix=prefix)
    one.fetch(0)
    for step, tag in ((0, "a"), (6, "b"), (9, "c")):
        text = '{ "body":"W10=", "content-type":"application/json",  "headers":{"naïve": 1.50},' + (
            f'"properties":{{"delivery_tag":"{tag}","body_encoding":"base64","priority":{step},'
            '"delivery_info":{"exchange":"","routing_key":"plain"}},"content-encoding":"utf-8" }'
        )
        client.lpush(f"{prefix}plain" + (f"\x06\x16{step}" if step else ""), text)
    keys = [f"{prefix}plain", f"{prefix}plain\x06\x166", f"{prefix}plain\x06\x169"]
    before = [client.lrange(key, 0, -1) for key in keys]
    fetched = one.fetch(3)
    assert requeue.put_back(one.channel, fetched) == PutBack(moved=3)
    assert [client.lrange(key, 0, -1) for key in keys] == before


def test_what_the_visibility_timeout_has_given_back_is_not_doubled_and_what_nobody_has_is_pushed(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one = fetching(BILLING, STOCK)
    one.fetch(0)
    one.send("order.new", number=2)
    fetched = one.fetch(4)
    restored = next(request for request in fetched if message_origin.of(request.message).queue == "billing")
    one.channel.qos.restore_by_tag(restored.message.delivery_tag)  # as kombu does when the timeout ends
    assert (client.llen("billing"), client.llen("stock")) == (1, 0), "home, and not to every queue with this key"
    vanished = next(r for r in fetched if message_origin.of(r.message).queue == "stock")
    client.hdel("unacked", vanished.message.delivery_tag)
    assert requeue.put_back(one.channel, fetched) == PutBack(moved=2, waiting=1, copied=1)
    assert (client.llen("billing"), client.llen("stock"), client.hlen("unacked")) == (2, 2, 0)


def test_what_came_over_a_lost_connection_and_was_taken_since_is_not_doubled(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    old, new = fetching(PLAIN), fetching(PLAIN)
    old.fetch(0)
    old.send("plain", exchange=Exchange(""), number=3)
    kept, restored, taken = old.fetch(3)
    for request in (restored, taken):
        old.channel.qos.restore_by_tag(request.message.delivery_tag)
    client.rpop("plain")  # somebody has run it
    assert requeue.put_back(new.channel, [kept, restored, taken]) == PutBack(moved=1, waiting=1, gone=1)
    assert client.llen("plain") == 2


def foreign(number: int, tag: str) -> str:
    """What a sender that is not Celery writes, with a delivery tag that it gives all its messages."""
    return (
        f'{{"body" : "W10=", "headers":{{"id" : "t{number}"}},"content-type":"application/json",'
        f'"content-encoding":"utf-8","properties":{{"delivery_tag" :{tag},"body_encoding":"base64",'
        '"delivery_info":{"exchange":"","routing_key":"plain"}}}'
    )


@pytest.mark.parametrize("tag", ['"same"', "7"], ids=["text", "number"])
@pytest.mark.parametrize("lost", [False, True], ids=["unacked", "evicted"])
def test_messages_of_a_sender_that_gives_all_the_same_tag_are_told_apart(
    fetching: Callable[..., Fetching], client: redis.Redis, tag: str, lost: bool
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    texts = [foreign(n, tag) for n in range(4)]
    client.lpush("plain", *texts)
    before = client.lrange("plain", 0, -1)
    fetched = one.fetch(4)
    assert client.hlen("unacked") == 4, "each has an entry of its own"
    if lost:
        client.delete("unacked")
    in_order = celery_private.newest_first(one.channel, fetched)
    done = requeue.put_back(one.channel, in_order)
    assert done == (PutBack(copied=4) if lost else PutBack(moved=4))
    assert client.lrange("plain", 0, -1) == before
    assert requeue.put_back(one.channel, [Request(r.message) for r in in_order]) == PutBack(waiting=4)
    assert client.lrange("plain", 0, -1) == before


def test_two_workers_that_hold_messages_with_one_tag_give_both_back(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one, other = fetching(PLAIN), fetching(PLAIN)
    for n, fetcher in enumerate((one, other)):
        fetcher.fetch(0)
        client.lpush("plain", foreign(n, '"same"'))
        fetcher.fetch(1)
    assert requeue.put_back(one.channel, one.got) == PutBack(moved=1)
    assert requeue.put_back(other.channel, other.got) == PutBack(copied=1)
    assert client.llen("plain") == 2


def test_a_message_that_is_fetched_again_after_the_visibility_timeout_goes_back_once(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    one.send("plain", exchange=Exchange(""))
    (first,) = one.fetch(1)
    one.channel.qos.restore_by_tag(first.message.delivery_tag)
    fetched = one.fetch(2)
    assert requeue.put_back(one.channel, fetched) == PutBack(moved=1, waiting=1)
    assert client.llen("plain") == 1


def broken_after(call: Callable[..., Any]) -> Callable[..., Any]:
    """Redis does it, and its answer is lost with the connection."""

    def broken(*args: Any, **options: Any) -> Any:
        call(*args, **options)
        raise redis.ConnectionError("the answer is lost")

    return broken


def test_what_was_acknowledged_when_the_connection_broke_does_not_run_once_more(
    fetching: Callable[..., Fetching], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    one.send("plain", exchange=Exchange(""), number=3)
    done, refused, unstarted = one.fetch(3)
    with monkeypatch.context() as patch:
        patch.setattr(redis.client.Pipeline, "execute", broken_after(redis.client.Pipeline.execute))
        for call in (done.message.ack, refused.message.reject):
            with pytest.raises(redis.ConnectionError):
                call()
    assert client.hlen("unacked") == 1
    one.channel.close()
    assert client.lrange("plain", 0, -1) == [message_origin.of(unstarted.message).raw]


def test_a_channel_that_is_closed_twice_does_not_end_the_worker(
    fetching: Callable[..., Fetching], client: redis.Redis, valkey: Valkey
) -> None:
    """So kombu does it when the broker goes away under a fetch."""
    one = fetching(PLAIN)
    one.fetch(0)
    one.send("plain", exchange=Exchange(""), number=2)
    fetched = one.fetch(2)
    valkey.stop()
    one.channel.__dict__.pop("client", None)
    one.channel._disconnect_pools()
    one.channel.connection.client = None
    with pytest.raises(redis.ConnectionError):
        one.channel.qos.ack(fetched[0].id)
    with pytest.raises(redis.ConnectionError):
        one.channel.qos.restore_unacked()
    valkey.start()
    assert client.hlen("unacked") == 2, "they come again after the visibility timeout"


def test_what_was_moved_when_the_connection_broke_and_was_taken_since_is_not_doubled(
    fetching: Callable[..., Fetching], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    one.send("plain", exchange=Exchange(""), number=2)
    fetched = one.fetch(2)
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "eval", broken_after(redis.Redis.eval))
        with pytest.raises(redis.ConnectionError):
            requeue.put_back(one.channel, reversed(fetched))
    assert client.rpop("plain") == message_origin.of(fetched[0].message).raw, "another worker takes it"
    one.channel.close()
    assert client.lrange("plain", 0, -1) == [message_origin.of(fetched[1].message).raw]


def test_large_messages_go_back_in_several_scripts(
    fetching: Callable[..., Fetching], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    one.send("plain", exchange=Exchange(""), number=5)
    before = client.lrange("plain", 0, -1)
    monkeypatch.setattr(requeue, "CHUNK_BYTES", 2 * max(map(len, before)))
    client.config_resetstat()
    assert requeue.put_back(one.channel, reversed(one.fetch(5))) == PutBack(moved=5)
    assert client.info("commandstats")["cmdstat_eval"]["calls"] == 3
    assert client.lrange("plain", 0, -1) == before


def test_a_channel_that_closes_gives_back_in_order_and_unmarked_and_marks_only_what_had_begun(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one = fetching(BILLING, STOCK, PLAIN)
    one.fetch(0)
    one.send("order.new", number=4)
    one.send("plain", exchange=Exchange(""), number=1)
    before = {name: client.lrange(name, 0, -1) for name in ("billing", "stock")}
    fetched = one.fetch(9)
    begun = next(request for request in fetched if message_origin.of(request.message).queue == "plain")
    worker_state.active_requests.add(begun)
    try:
        one.channel.close()
    finally:
        worker_state.active_requests.discard(begun)
    assert {name: client.lrange(name, 0, -1) for name in ("billing", "stock")} == before
    (marked,) = client.lrange("plain", 0, -1)
    assert json.loads(marked)["headers"]["redelivered"] is True
    assert client.hlen("unacked") == 0


def test_a_broadcast_has_no_home_even_right_after_a_message_that_needs_no_acknowledgement(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    news = Queue("news-1", Exchange("news", type="fanout"))
    one = fetching(PLAIN, news)
    one.fetch(0)
    with one.consumer:
        with contextlib.suppress(TimeoutError):  # it subscribes when it first drains
            one.connection.drain_events(timeout=0.2)
        seen: list[Any] = []
        one.channel.connection._callbacks["plain"] = seen.append  # as a consumer does that acknowledges nothing
        one.send("plain", exchange=Exchange(""))
        while not seen:
            one.connection.drain_events(timeout=5)
        one.send("", exchange=Exchange("news", type="fanout"))
        while not one.got:
            one.connection.drain_events(timeout=5)
    assert [message_origin.of(request.message) for request in one.got] == [None]
    with pytest.raises(LookupError):
        requeue.put_back(one.channel, one.got)


def test_the_connection_it_fetches_by_is_known_by_its_id(
    fetching: Callable[..., Fetching], client: redis.Redis
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    assert one.fetches.clients == [], "it has not fetched yet"
    one.send("plain", exchange=Exchange(""))
    one.fetch(1)
    by_command = {int(c["id"]) for c in client.client_list() if c["cmd"] == "brpop"}
    assert set(one.fetches.clients or ()) == by_command


def test_a_thousand_and_more_go_back_in_their_order(fetching: Callable[..., Fetching], client: redis.Redis) -> None:
    one = fetching(BILLING)
    one.fetch(0)
    template = {"body": "W10=", "headers": {}, "content-type": "application/json", "content-encoding": "utf-8"}
    info = {"exchange": "orders", "routing_key": "order.x"}
    texts = [
        json.dumps({**template, "properties": {"delivery_tag": f"t{n}", "delivery_info": info}})
        for n in range(requeue.CHUNK + 7)
    ]
    client.lpush("billing", *texts)
    before = client.lrange("billing", 0, -1)
    fetched = one.fetch(len(texts))
    assert requeue.put_back(one.channel, reversed(fetched)).moved == len(texts)
    assert client.lrange("billing", 0, -1) == before


def test_only_a_lasting_refusal_of_the_script_is_one(
    fetching: Callable[..., Fetching], client: redis.Redis, valkey: Valkey
) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    assert requeue.refused(one.channel) == ""
    client.execute_command("ACL", "SETUSER", "default", "-eval")
    try:
        assert "eval" in requeue.refused(one.channel)
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+eval")
    valkey.stop()
    assert requeue.refused(one.channel) == "", "a server that is away has refused nothing"


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (redis.exceptions.NoPermissionError("no right to eval"), True),
        (redis.ResponseError("Unknown command 'EVAL'"), True),
        (redis.ResponseError("LOADING Redis is loading the dataset in memory"), False),
        (redis.ReadOnlyError("a replica"), False),
        (OSError("broken"), False),
    ],
)
def test_what_ends_by_itself_is_no_refusal(monkeypatch: pytest.MonkeyPatch, error: Exception, lasting: bool) -> None:
    def refuse(*_args: Any) -> None:
        raise error

    monkeypatch.setattr(requeue, "client_of", lambda _channel: SimpleNamespace(eval=refuse))
    qos = SimpleNamespace(unacked_key="unacked", unacked_index_key="unacked_index")
    channel = SimpleNamespace(global_keyprefix="", qos=qos)
    assert requeue.refused(channel) == (str(error) if lasting else "")


def test_what_is_told_of_a_way_back_adds_up() -> None:
    total = PutBack(moved=2, copied=1) + PutBack(waiting=1, gone=3)
    assert total == PutBack(moved=2, copied=1, waiting=1, gone=3)
    assert str(PutBack(moved=2)) == "2 put back"
    assert str(PutBack(aside=2)) == "0 put back; 2 held"
    assert str(PutBack(copied=1) + PutBack(aside=2)) == "1 put back, 1 of them from the copy in hand; 2 held"
    assert str(total) == (
        "3 put back, 1 of them from the copy in hand; 1 were in their queue already; "
        "3 had been taken by another worker since"
    )


def test_nothing_of_this_kombu_is_missing_and_what_is_is_named(fetching: Callable[..., Fetching]) -> None:
    assert message_origin.missing(fetching(PLAIN).channel) == []
    lost = message_origin.missing(SimpleNamespace(qos=SimpleNamespace(), client=SimpleNamespace()))
    assert {"channel.sep", "channel.qos.append", "channel.client.parse_response"} <= set(lost)


def test_a_full_redis_takes_messages_back_too(fetching: Callable[..., Fetching], client: redis.Redis) -> None:
    one = fetching(PLAIN)
    one.fetch(0)
    one.send("plain", exchange=Exchange(""), number=2)
    before = client.lrange("plain", 0, -1)
    fetched = one.fetch(2)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.OutOfMemoryError):
            client.rpush("plain", "any")
        assert requeue.put_back(one.channel, reversed(fetched)) == PutBack(moved=2)
    finally:
        client.config_set("maxmemory", 0)
    assert client.lrange("plain", 0, -1) == before
