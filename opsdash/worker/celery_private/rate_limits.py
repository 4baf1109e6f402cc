"""How often tasks of one name start in this worker: Celery's token buckets, changed while they are in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.utils.time import rate
from celery.worker import state as worker_state
from kombu.utils.limits import TokenBucket


def follows_rate_limits(consumer: Any) -> bool:
    """Rate limits are not switched off, and this Celery has what changing them leans on."""
    needed = ("task_buckets", "_schedule_bucket_request")
    return not getattr(consumer, "disable_rate_limits", False) and all(hasattr(consumer, name) for name in needed)


BURST_S = 0.1
"""So much of a second's tasks may start at once: timers are not exact."""
DUE = "opsdash_due"
"""Attribute of a bucket: until when its one timer is expected, by the monotonic clock."""


def one_timer_per_bucket(consumer: Any) -> None:
    """Has each bucket wait by one timer.

    Celery starts one more with each task that it holds back. The loop runs ten of them and then sleeps for a second:
    with Celery 5.7, of 10 tasks a second 5 started, and fewer with time.
    """
    if "_schedule_bucket_request" not in vars(consumer):
        consumer._schedule_bucket_request = _scheduling(consumer)


def celerys_own_timers(consumer: Any) -> None:
    """Undoes that."""
    vars(consumer).pop("_schedule_bucket_request", None)


def _scheduling(consumer: Any) -> Callable[[Any], None]:
    def fire(bucket: Any) -> None:
        setattr(bucket, DUE, 0.0)
        schedule(bucket)

    def schedule(bucket: Any) -> None:
        while bucket.contents and bucket.can_consume(1):
            request, _ = bucket.pop()
            consumer._limit_move_to_pool(request)
        now = time.monotonic()
        # One that is overdue is gone: a lost connection takes timers away.
        if bucket.contents and getattr(bucket, DUE, 0.0) <= now:
            hold = bucket.expected_time(1)
            setattr(bucket, DUE, now + hold + 1)
            consumer.timer.call_after(hold, fire, (bucket,))

    return schedule


def accepted(task: str) -> int:
    """How many tasks of this name the worker has taken since it started."""
    return int(worker_state.total_count.get(task, 0))


def limit_rate(consumer: Any, task: str, per_s: float | None) -> float | None:
    """So many start a second from now on, or fewer where the task's own limit is lower. Event loop only.

    Args:
        per_s: None: its own limit alone.

    Returns:
        What holds now; None: no limit, or the worker does not know the task.
    """
    known = consumer.app.tasks.get(task)
    if known is None:
        return None
    try:
        own = float(rate(known.rate_limit)) or None
    except (ValueError, TypeError, KeyError, AttributeError):
        own = None
    wanted = min((limit for limit in (per_s, own) if limit), default=None)
    bucket = consumer.task_buckets.get(task)
    if bucket is None:
        if wanted is not None:
            consumer.task_buckets[task] = TokenBucket(wanted, capacity=_burst(wanted))  # type: ignore[no-untyped-call]
        return wanted
    before = bucket.fill_rate
    if wanted is None:
        # What waits goes on at once; a timer that comes later finds the bucket empty.
        consumer.task_buckets[task] = None
        bucket.capacity = bucket._tokens = float(len(bucket.contents) + 1)
    else:
        bucket.fill_rate, bucket.capacity = wanted, _burst(wanted) if per_s else 1.0
        bucket._tokens = min(bucket._tokens, bucket.capacity)
    if bucket.contents and (wanted is None or wanted > before):
        setattr(bucket, DUE, 0.0)
        consumer._schedule_bucket_request(bucket)
    return wanted


def _burst(per_s: float) -> float:
    return max(1.0, per_s * BURST_S)


def waits_for_rate(consumer: Any, task: str) -> int:
    """Tasks of this name that wait for their turn."""
    bucket = consumer.task_buckets.get(task)
    return len(bucket.contents) if bucket else 0
