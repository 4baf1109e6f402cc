"""Whatever is put before whatever waits, in whatever steps: the order is the one that moving each by itself gives."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash import lua
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.queues import lock

MOVE = lua.load("opsdash.model.x", "move_some") + "move_some(ARGV[1], KEYS[1], ARGV[2], KEYS[2], tonumber(ARGV[3]))"
ONE_BY_ONE = "for _ = 1, ARGV[3] do redis.call('LMOVE', KEYS[1], KEYS[2], ARGV[1], ARGV[2]) end"
# Alike or not, and some of them large: how many are moved at a time follows from their size.
messages = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, 1, 1, 900, 90_000])), max_size=60).map(
    lambda made: [str(number) * size for number, size in made]
)


@pytest.fixture(scope="module")
def client() -> Iterator[fakeredis.FakeRedis]:
    made = fakeredis.FakeRedis(decode_responses=True)
    yield made
    made.close()


def fill(client: fakeredis.FakeRedis, **lists: list[str]) -> None:
    client.flushall()
    for key, texts in lists.items():
        if texts:
            client.rpush(key, *texts)


@given(waiting=messages, moved=messages, step=st.integers(1, 70))
def test_what_goes_back_runs_next_and_all_keep_their_order(
    client: fakeredis.FakeRedis, waiting: list[str], moved: list[str], step: int
) -> None:
    broker = Broker(client, Layouts.fixed(client, Layout(prefix="")), "test", ("celery",))
    fill(client, celery=waiting, back=moved)
    with (
        mock.patch.multiple(lock, FIRST_STEP=step, LARGEST_STEP=step),
        lock.locked(broker, "celery", by="maria", what="restore") as held,
    ):
        held.join("back", "celery")
    assert client.lrange("celery", 0, -1) == waiting + moved
    assert not client.exists("back")


@given(source=messages, target=messages, number=st.integers(0, 70), right=st.booleans())
def test_many_at_a_time_end_where_one_at_a_time_does(
    client: fakeredis.FakeRedis, source: list[str], target: list[str], number: int, right: bool
) -> None:
    fill(client, one=source, all=target)
    client.eval(ONE_BY_ONE, 2, "one", "all", *(("RIGHT", "LEFT") if right else ("LEFT", "RIGHT")), number)
    expected = client.lrange("one", 0, -1), client.lrange("all", 0, -1)
    fill(client, one=source, all=target)
    client.eval(MOVE, 2, "one", "all", *(("RPOP", "LPUSH") if right else ("LPOP", "RPUSH")), number)
    assert (client.lrange("one", 0, -1), client.lrange("all", 0, -1)) == expected
