"""Celery's token buckets while a limit begins, changes and ends: nothing that waits is lost, doubled or forgotten."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.asynchronous.timer import Timer

from opsdash.worker.celery_private import celerys_own_timers, limit_rate, one_timer_per_bucket


class Consumer:
    """As much of a consumer as a bucket needs; ``turn`` is its event loop."""

    def __init__(self, own: Any = None) -> None:
        task: Any = SimpleNamespace(rate_limit=own)
        self.app = SimpleNamespace(tasks={"t": task})
        self.timer, self.started, self.task_buckets = Timer(), [], {"t": None}

    def _schedule_bucket_request(self, _bucket: Any) -> None:
        raise AssertionError("Celery's own")

    def _limit_move_to_pool(self, request: Any) -> None:
        self.started.append(request)

    def receive(self, *requests: int) -> None:
        for request in requests:
            bucket = self.task_buckets["t"]
            if bucket is None:
                self._limit_move_to_pool(request)
            else:
                bucket.add((request, 1))
                self._schedule_bucket_request(bucket)

    def turn(self, seconds: float) -> None:
        ends, due = time.monotonic() + seconds, iter(self.timer)
        while time.monotonic() < ends:
            _, entry = next(due)
            if entry is not None:
                entry()


def test_what_waits_starts_in_order_by_one_timer_however_much_it_is() -> None:
    consumer = Consumer()
    one_timer_per_bucket(consumer)
    assert limit_rate(consumer, "t", 5.0) == 5.0
    consumer.receive(*range(100))
    assert consumer.started == [0]
    assert len(consumer.timer.queue) == 1
    consumer.turn(0.45)
    assert consumer.started == [0, 1, 2]


def test_a_faster_limit_counts_at_once_for_what_waits() -> None:
    consumer = Consumer()
    one_timer_per_bucket(consumer)
    limit_rate(consumer, "t", 1 / 3600)
    consumer.receive(0, 1, 2)
    assert consumer.started == [0]
    assert limit_rate(consumer, "t", 100.0) == 100.0
    consumer.turn(0.1)
    assert consumer.started == [0, 1, 2]


def test_when_a_limit_ends_all_that_waits_starts_and_no_bucket_stays() -> None:
    consumer = Consumer()
    one_timer_per_bucket(consumer)
    limit_rate(consumer, "t", 1 / 3600)
    consumer.receive(0, 1, 2)
    assert limit_rate(consumer, "t", None) is None
    celerys_own_timers(consumer)
    assert consumer.started == [0, 1, 2]
    assert consumer.task_buckets == {"t": None}
    consumer.receive(3)
    assert consumer.started == [0, 1, 2, 3]


@pytest.mark.parametrize("own", ["2/s", 2, "120/m"])
def test_a_tasks_own_limit_holds_where_it_is_lower_and_alone_afterwards(own: Any) -> None:
    consumer = Consumer(own)
    assert limit_rate(consumer, "t", 10.0) == 2.0
    assert limit_rate(consumer, "t", 1.0) == 1.0
    assert limit_rate(consumer, "t", None) == 2.0
    assert (consumer.task_buckets["t"].fill_rate, consumer.task_buckets["t"].capacity) == (2.0, 1.0)


def test_a_task_that_this_worker_does_not_know_and_an_own_limit_that_is_none_are_left_alone() -> None:
    consumer = Consumer("often")
    assert limit_rate(consumer, "unknown", 1.0) is None
    assert limit_rate(consumer, "t", 1.0) == 1.0
    assert limit_rate(consumer, "t", None) is None


def test_a_timer_that_a_lost_connection_took_away_is_made_again() -> None:
    consumer = Consumer()
    one_timer_per_bucket(consumer)
    limit_rate(consumer, "t", 5.0)
    consumer.receive(0, 1)
    consumer.timer.clear()
    consumer.task_buckets["t"].clear_pending()
    consumer.task_buckets["t"].opsdash_due = time.monotonic() - 0.01  # its time has come, and nothing was there
    consumer.receive(2)
    consumer.turn(0.3)
    assert consumer.started == [0, 2]
