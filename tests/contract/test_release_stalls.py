"""A release of very many held tasks stalls nobody: no command of it takes Redis long."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator

import pytest
import redis
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.services.broker.client import Broker, connect
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.release_held import HeldTasksMover

HELD, WAITING = 200_000, 50_000
LONGEST_US = 2_000
RUNS = 8
"""Redis's log of slow commands goes by the clock, so what else the machine runs counts too: the best run does."""
BUSY = 0.95
"""On a machine with more to do than it has cores, of so many of the commands: the others were interrupted."""
FILL = "for n = 1, ARGV[1] do redis.call('LPUSH', KEYS[1], ARGV[2] .. n .. ARGV[3]) end"
MESSAGE = message("0-", pad="x" * 200)


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A real server alone."""
    made = connect(Settings.from_env({}, redis_url=valkey_url))
    yield made.client
    made.client.config_set("slowlog-log-slower-than", 10_000)
    made.client.close()


def fill(client: redis.Redis, key: str, number: int) -> None:
    before, _, after = MESSAGE.partition("0-")
    for _ in range(number // 10_000):
        client.eval(FILL, 1, key, 10_000, before, after)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_thousand_held_tasks_go_back_in_steps_of_five_milliseconds_at_most(broker: Broker) -> None:
    client, queue, longest, took_s = broker.client, broker.lists("celery")[0], list[int](), list[float]()
    for _ in range(RUNS):
        client.flushall()
        hold = Holds(broker).set("task", "shop.charge", by="maria", reason="", ttl_s=600)
        key = broker.keys.held(hold.id, "0", "celery")
        client.hset(broker.keys.held_lists, f"{hold.id}:0:celery", queue)
        fill(client, key, HELD)
        fill(client, queue, WAITING)
        client.config_set("slowlog-log-slower-than", 500)
        client.slowlog_reset()
        began = time.monotonic()
        assert HeldTasksMover(broker).release(hold, by="maria").total == HELD
        took_s.append(time.monotonic() - began)
        took_us = sorted(entry["duration"] for entry in client.slowlog_get(1_000))
        share = BUSY if os.getloadavg()[0] > (os.cpu_count() or 1) else 1.0
        longest.append(took_us[: math.ceil(len(took_us) * share)][-1] if took_us else 0)
        assert client.llen(queue) == HELD + WAITING
        if longest[-1] <= LONGEST_US:
            break
    assert min(longest) <= LONGEST_US, f"longest command of each run, µs: {longest}"
    assert min(took_s) < 10
