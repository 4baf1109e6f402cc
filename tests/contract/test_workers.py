from __future__ import annotations

import json
import time

import pytest

from opsdash.services.broker import Broker
from opsdash.services.workers import Workers


def report(broker: Broker, hostname: str, age_s: float = 0.0, **fields: object) -> None:
    now = time.time() - age_s
    values = {"time": now, "loop_tick": now, "pool": "prefork", **fields}
    broker.client.hset(broker.keys.worker(hostname), mapping={k: str(v) for k, v in values.items()})
    broker.client.zadd(broker.keys.workers, {hostname: now})


def test_no_report_is_no_worker(broker: Broker):
    assert Workers(broker).read() == ()


def test_a_worker_is_read_as_it_reported_itself(broker: Broker):
    report(
        broker,
        "a@host",
        pid=7,
        uptime_s=9252.4,
        processed=12,
        active=1,
        reserved=4,
        scheduled=2,
        concurrency=8,
        memory_bytes=1000,
        queues=json.dumps(["celery", "emails"]),
        paused="1",
        paused_queues="[]",
        epoch=3,
        version="0.1.0",
    )
    (worker,) = Workers(broker).read()
    assert (worker.hostname, worker.state, worker.uptime, worker.processed) == ("a@host", "online", "2h 34m 12s", 12)
    assert (worker.active, worker.reserved, worker.scheduled, worker.concurrency) == (1, 4, 2, 8)
    assert (worker.queues, worker.paused, worker.paused_queues, worker.epoch) == (("celery", "emails"), True, (), 3)
    assert (worker.memory_bytes, worker.pausing) == (1000, "ready")


def test_a_silent_worker_is_offline_even_when_its_hash_is_gone(broker: Broker):
    report(broker, "silent@host", age_s=20)
    broker.client.zadd(broker.keys.workers, {"gone@host": time.time() - 300})
    assert [(w.hostname, w.state) for w in Workers(broker).read()] == [
        ("gone@host", "offline"),
        ("silent@host", "offline"),
    ]


def test_a_worker_whose_event_loop_stands_still_is_stalled_unless_its_pool_is_solo(broker: Broker):
    report(broker, "prefork@host", loop_tick=time.time() - 30)
    report(broker, "solo@host", loop_tick=time.time() - 30, pool="solo")
    assert {w.hostname: w.state for w in Workers(broker).read()} == {"prefork@host": "stalled", "solo@host": "online"}


def test_nonsense_in_a_report_costs_the_field_and_not_the_page(broker: Broker):
    report(broker, "a@host", processed="many", queues="{", paused_queues="7", memory_bytes="", epoch="")
    (worker,) = Workers(broker).read()
    assert (worker.processed, worker.queues, worker.memory_bytes, worker.epoch) == (0, (), None, None)


@pytest.mark.parametrize("nonsense", ["NaN", "inf", "-inf", "1e300", "-5", "\x00", "٣x"])
@pytest.mark.parametrize(
    "field", ["processed", "active", "uptime_s", "memory_bytes", "epoch", "time", "loop_tick", "pid", "oldest_s"]
)
def test_a_figure_that_is_none_costs_itself_and_not_the_page(broker: Broker, field: str, nonsense: str):
    report(broker, "a@host")
    broker.client.hset(broker.keys.worker("a@host"), field, nonsense)
    (worker,) = Workers(broker).read()
    assert worker.hostname == "a@host"
    assert worker.uptime
