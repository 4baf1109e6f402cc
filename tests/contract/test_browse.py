"""A look into a queue by pages, on a real broker."""

from __future__ import annotations

import pytest
import redis
from support.messages import message
from support.rows import fill

from opsdash.services.broker.client import Broker
from opsdash.services.queues.browse import browse
from opsdash.services.queues.peek import LARGE


def test_a_page_goes_on_where_the_last_one_ended_and_shows_the_end_as_well(broker: Broker, client: redis.Redis) -> None:
    ids = fill(client, broker.lists("celery")[0], 30)
    client.lpush(
        broker.lists("celery")[3], *client.lrange(broker.lists("celery")[0], 0, -1)
    )  # a second priority step behind it
    look = browse(broker, "celery", 1, 20, last=5)
    assert [message.position for message in look.messages] == [*range(1, 21), *range(56, 61)]
    assert [message.id for message in look.messages][:20] == ids[:20]
    assert (look.waiting, look.upto) == (60, 20)
    look = browse(broker, "celery", 21, 20, last=5)
    assert [(message.position, message.priority) for message in look.messages][9:11] == [(30, 0), (31, 3)]
    last = browse(broker, "celery", 41, 20, last=5)
    assert [message.position for message in last.messages] == [*range(41, 61)]
    assert last.upto == last.waiting
    assert browse(broker, "nothing", 1, 20, last=5).messages == ()


def test_a_page_in_the_middle_of_a_long_list_is_walked_to_a_few_times_and_not_for_each_message(
    broker: Broker, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["client"] != "valkey":
        pytest.skip("only a server counts its commands")
    texts = [message(f"{n:08d}") for n in range(2_000)]
    broker.client.lpush(broker.lists("celery")[0], *texts)
    broker.client.config_resetstat()
    look = browse(broker, "celery", 1_001, 100)
    assert [(one.position, one.id) for one in look.messages] == [(n + 1, f"{n:08d}") for n in range(1_000, 1_100)]
    calls = broker.client.info("commandstats")
    assert "cmdstat_lindex" not in calls
    assert calls["cmdstat_lrange"]["calls"] < 10


def test_a_message_that_is_too_large_to_look_into_is_shown_with_its_size_in_its_place(
    broker: Broker, client: redis.Redis
) -> None:
    fill(client, broker.lists("celery")[0], 1)
    client.rpush(broker.lists("celery")[0], "x" * (LARGE + 1))
    client.rpush(broker.lists("celery")[0], "x" * LARGE)
    limit, large, small = browse(broker, "celery", 1, 20, last=0).messages
    assert (large.position, large.priority, large.size_bytes) == (2, 0, LARGE + 1)
    assert large.unreadable == "not looked into: larger than 262.1 kB"
    assert (limit.position, limit.size_bytes) == (1, LARGE)
    assert limit.unreadable.startswith("unreadable")
    assert (small.position, small.unreadable) == (3, "")
