"""Whatever lies in the keys of a pause, the flag's existence alone decides, and pause and resume repair the rest."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsdash.keys import EPOCH_DIGITS, EVERYTHING
from opsdash.services.broker.client import Broker
from opsdash.services.pause.expiry import PauseExpiry
from opsdash.services.pause.flags import PauseFlags
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.watcher import LONGEST_NUDGE, FlagWatch, read_flags

QUEUES = ("celery", "emails")
DEEP = "[" * 50_000
TEXTS = [
    "",
    "true",
    "0",
    "7",
    "007",
    "0x1",
    "1e3",
    "-5",
    " 3",
    "²",
    "nan",
    "9" * 13,
    "9" * 14,
    "9223372036854775807",
    "9" * 400,
    "9" * 5_000,
    "{",
    "[]",
    "null",
    DEEP,
    '{"a":' * 2_000,
    json.dumps({"at": "0001-01-01T00:00:00+23:59", "expires_at": "9999-12-31T23:59:59-23:59"}),
    json.dumps({"at": "2026-01-01T00:00:00", "expires_at": 1e300, "epoch": 1e300, "by": {"x": 1}, "reason": ["y"]}),
    json.dumps({"epoch": True, "by": None, "at": True}),
    json.dumps({"at": "0001-01-01T00:00:00+00:00", "expires_at": "0001-01-01T00:00:01+00:00", "epoch": 2}),
    '{"epoch": NaN, "at": Infinity}',
    '{"epoch": ' + "9" * 5_000 + "}",
    '{"epoch": 0x10}',
    'x "epoch": 4}',
    'x "epoch": 004}\n',
    json.dumps({"by": "\ud800", "reason": "\0", "at": "2026-01-01T00:00:00+00:00", "epoch": 3}),
]
BLOBS = [b"\xff\xfe\x00", b"\x80" * 70_000]
texts = st.one_of(
    st.sampled_from([*(text.encode("utf-8", "surrogatepass") for text in TEXTS), *BLOBS]),
    st.binary(max_size=40),
    st.integers(min_value=-(10**30), max_value=10**30).map(lambda number: str(number).encode()),
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5).map(
        lambda value: json.dumps({"epoch": value, "by": value, "at": value, "expires_at": value}).encode()
    ),
)
values = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["string", "list", "set", "zset", "stream"]), texts),
    # The hash with something under the fields that are read.
    st.tuples(st.just("hash"), texts),
)


def put(client: redis.Redis, key: str, value: tuple[str, bytes] | None) -> None:
    client.delete(key)
    if value is None:
        return
    kind, text = value
    if kind == "string":
        client.set(key, text)
    elif kind == "list":
        client.lpush(key, text)
    elif kind == "set":
        client.sadd(key, text)
    elif kind == "zset":
        client.zadd(key, {text: 1})
    elif kind == "stream":
        client.xadd(key, {"x": text})
    else:
        client.hset(key, mapping={EVERYTHING: text, "celery": text, "emails": text, "more": text})


def as_worker(broker: Broker) -> Any:
    """What a worker reads by: kombu's pool does not decode."""
    kind = fakeredis.FakeRedis if isinstance(broker.client, fakeredis.FakeRedis) else redis.Redis
    where = broker.client.connection_pool.connection_kwargs
    return SimpleNamespace(redis=kind(host=where["host"], port=where["port"]), keys=broker.keys)


class Audit:
    """Stands for the audit log: notes what is written, of which queue."""

    def __init__(self) -> None:
        self.noted: list[str | None] = []

    def here(self) -> str:
        return "broker:6379/0"

    def note(self, **entry: Any) -> bool:
        json.dumps(entry["details"])
        self.noted.append(entry["details"]["params"]["queue"])
        return True


@pytest.mark.long
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_there_the_flag_alone_says_what_is_paused(broker: Broker, data: st.DataObject):
    client, keys, flags = broker.client, broker.keys, PauseFlags(broker)
    link = as_worker(broker)
    names = {name: keys.pause(name) for name in (None, *QUEUES)}
    beside = ["pause_info", "pause_epoch", "expires", "expires_declared", "binding_deadlines"]

    def agree() -> None:
        """Worker and console say what EXISTS says."""
        state = read_flags(link, QUEUES)
        set_ = {name for name, key in names.items() if client.exists(key)}
        assert (state.everything, state.queues) == (None in set_, frozenset(set_ - {None}))
        assert 0 <= (state.epoch or 0) < 10**EPOCH_DIGITS
        assert set(flags.read(QUEUES)) == set_

    try:
        for name in beside:
            put(client, getattr(keys, name), data.draw(values, label=name))
        for name, key in names.items():
            put(client, key, data.draw(values, label=f"flag of {name or 'everything'}"))
        agree()

        with client.pipeline() as pipe:
            flags.ask(pipe, list(names))
            read = flags.answer(list(names), pipe.execute(raise_on_error=False))
        expiry = PauseExpiry(Audit, flags)
        expiry.look(read.active, read.left, read.epoch)
        expiry.write_ended()
        with client.pipeline() as pipe:
            flags.ask(pipe, list(names))
            assert flags.answer(list(names), pipe.execute(raise_on_error=False)).left == (), "told once, then forgotten"

        queue = data.draw(st.sampled_from([None, *QUEUES]), label="paused")
        info = flags.pause(queue, by="maria", reason="why", ttl_s=600)
        agree()
        read_back = flags.read(QUEUES)[queue]
        assert (read_back.by, read_back.reason, read_back.epoch) == ("maria", "why", info.epoch)
        assert read_flags(link, QUEUES).epoch == info.epoch
        assert not flags.resume(queue, (info.epoch or 0) + 1), "another one's pause"
        assert flags.resume(queue, info.epoch)
        agree()
        assert (read_flags(link, QUEUES).epoch or 0) > (info.epoch or 0), "the epoch goes on counting"

        put(client, keys.pause_info, data.draw(values, label="story, again"))
        put(client, keys.pause_epoch, data.draw(values, label="epoch, again"))
        put(client, names[queue], ("list", b"x"))
        assert not flags.resume(queue, 1 << 40)
        agree()
        assert flags.resume(queue)
        agree()
    finally:
        client.flushdb()
        link.redis.close()


@pytest.mark.parametrize("text", ["9" * EPOCH_DIGITS, "9223372036854775807", "9" * 400, "0x1", "007", "-1", "nan", ""])
def test_an_epoch_that_cannot_be_counted_on_goes_on_above_what_workers_have_confirmed(broker: Broker, text: str):
    flags = PauseFlags(broker)
    confirmed = max(flags.pause(None, by="maria", reason="", ttl_s=60).epoch or 0 for _ in range(3))
    broker.client.set(broker.keys.pause_epoch, text)
    epochs = [flags.pause(None, by="maria", reason="", ttl_s=60).epoch or 0 for _ in range(3)]
    assert confirmed < epochs[0] < epochs[1] < epochs[2]
    assert [info.epoch for info in flags.read(()).values()] == epochs[-1:]


@pytest.mark.parametrize("number", range(len(TEXTS) + len(BLOBS)))
def test_a_story_without_its_flag_is_told_once_whatever_it_says(broker: Broker, number: int):
    flags, names = PauseFlags(broker), [None, *QUEUES]
    text = [*(text.encode("utf-8", "surrogatepass") for text in TEXTS), *BLOBS][number]
    broker.client.hset(broker.keys.pause_info, mapping={EVERYTHING: text, "emails": text})
    audit = Audit()

    def look() -> None:
        with broker.client.pipeline() as pipe:
            flags.ask(pipe, names)
            read = flags.answer(names, pipe.execute(raise_on_error=False))
        expiry = PauseExpiry(lambda: audit, flags)
        expiry.look(read.active, read.left, read.epoch)
        expiry.write_ended()

    look()
    assert audit.noted == [None, "emails"]
    look()
    assert audit.noted == [None, "emails"]


def test_the_story_of_a_newer_pause_is_not_forgotten_with_an_older_one(broker: Broker):
    flags = PauseFlags(broker)
    ended = flags.pause(None, by="maria", reason="", ttl_s=60)
    flags.pause(None, by="otto", reason="", ttl_s=60)
    broker.client.delete(broker.keys.pause())
    flags.forget(ended)
    assert "otto" in (broker.client.hget(broker.keys.pause_info, EVERYTHING) or "")
    broker.client.delete(broker.keys.pause_info)
    broker.client.lpush(broker.keys.pause_info, "x")
    flags.forget(ended)


def test_a_flag_with_an_endless_ttl_is_a_pause_without_an_end(broker: Broker):
    broker.client.set(broker.keys.pause(), "x")
    broker.client.pexpire(broker.keys.pause(), 9 * 10**15)
    assert PauseFlags(broker).read(())[None].expires_at is None


NUDGES: list[Any] = [
    *(text.encode("utf-8", "surrogatepass") for text in TEXTS),
    *BLOBS,
    json.dumps({"paused": True, "field": ["celery"]}).encode(),
    json.dumps({"paused": True, "field": {"celery": DEEP}}).encode(),
    json.dumps({"paused": True, "field": "celery", "more": "x" * LONGEST_NUDGE}).encode(),
    json.dumps({"paused": "yes", "field": "*"}).encode(),
    json.dumps({"paused": True}).encode(),
    json.dumps([True, "*"]).encode(),
    b"[" * (LONGEST_NUDGE - 1),
    7,
    None,
]


@pytest.mark.parametrize("data", NUDGES, ids=range(len(NUDGES)))
def test_a_foreign_nudge_is_only_a_reason_to_read_the_flags(data: Any, caplog: pytest.LogCaptureFixture):
    gate = Gate(lambda request: None, (redis.ConnectionError,))
    link: Any = SimpleNamespace()
    health: Any = SimpleNamespace()
    watch = FlagWatch(link, gate, health, queues=lambda: ["celery"], on_change=lambda: None, request_tick=lambda: None)
    gate.set(PauseState(known=frozenset({"celery"})))
    watch._heed({"data": data})
    watch._heed({})
    assert not gate.closed
    assert caplog.text == ""
