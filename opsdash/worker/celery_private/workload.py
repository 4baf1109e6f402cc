"""How much a worker holds and runs, how it is configured, and whether it stops."""

from __future__ import annotations

from collections import Counter
from typing import Any

from celery.bootsteps import CLOSE, TERMINATE
from celery.worker import state as worker_state

from opsdash.worker import message_origin
from opsdash.worker.celery_private.reserved_requests import scheduled

MOST_RESERVED = 10_000
"""Messages whose queues are in a report: more of them take 10 ms of every two seconds."""


def counts(consumer: Any) -> dict[str, int]:
    """How many messages this worker holds, by state. Lengths only: called beside the event loop."""
    active, reserved = len(worker_state.active_requests), len(worker_state.reserved_requests)
    limited = sum(len(bucket.contents) for bucket in list(consumer.task_buckets.values()) if bucket)
    return {
        "processed": worker_state.all_total_count[0],
        "active": active,
        # Celery keeps active requests among the reserved ones, and rate-limited ones nowhere.
        "reserved": max(0, reserved - active) + limited,
        "scheduled": _scheduled(consumer),
    }


def _scheduled(consumer: Any) -> int:
    requests = getattr(worker_state, "scheduled_requests", None)  # since Celery 5.7
    return len(scheduled(consumer)) if requests is None else len(requests)


def accounted(consumer: Any) -> int:
    """Entries of kombu's ``unacked`` hash that are this worker's. Lengths only: called beside the event loop."""
    qos = getattr(getattr(consumer.task_consumer, "channel", None), "qos", None)
    # What is acknowledged leaves the hash at once, and kombu's own note of it at the next turn.
    return max(0, len(getattr(qos, "_delivered", ())) - len(getattr(qos, "_dirty", ())))


def fetch_settings(consumer: Any) -> dict[str, str]:
    """Whether it answers remote control, and how many messages it takes in advance; all strings, ``1`` for yes."""
    conf, limit = consumer.app.conf, getattr(getattr(consumer, "qos", None), "value", 0)
    return {
        "remote_control": str(int(bool(conf.worker_enable_remote_control))),
        "prefetch": str(limit or 0),
        "disable_prefetch": str(int(bool(getattr(conf, "worker_disable_prefetch", False)))),
    }


def pool_facts(consumer: Any) -> dict[str, Any]:
    """How large the pool is now, what it runs, and whether it may be restarted: Celery's own statistics don't say."""
    return {
        "concurrency": consumer.pool.num_processes or 0,
        "active": len(worker_state.active_requests),
        "pool_restarts": bool(consumer.app.conf.worker_pool_restarts),
    }


def stopping(consumer: Any) -> bool:
    """The worker must stop: its event loop has ended, or is about to."""
    asked = worker_state.should_stop, worker_state.should_terminate
    if any(code is not None and code is not False for code in asked):  # exit codes: 0 is one, and equals False
        return True
    return consumer.blueprint.state in (CLOSE, TERMINATE)


def active() -> list[Any]:
    """Requests that run, in no order. Safe beside the loop."""
    for _ in range(5):
        try:
            return list(worker_state.active_requests)
        except RuntimeError:  # the loop has added one meanwhile
            continue
    return []


def running() -> list[Any]:
    """Requests that run, the longest-running first. Safe beside the loop."""
    return sorted((request for request in active() if request.time_start), key=lambda request: request.time_start)


def held_by_queue(consumer: Any) -> dict[str, int] | None:
    """Queue → messages from it that were fetched and not started, those with an ETA included. Safe beside the loop.

    The empty name is for those of an unknown queue. Cost: about 1 µs a message; None above ``MOST_RESERVED``.
    """
    for _ in range(5):
        try:
            reserved = set(worker_state.reserved_requests).difference(worker_state.active_requests)
            for bucket in list(consumer.task_buckets.values()):
                reserved.update(request for request, _ in list(bucket.contents if bucket else ()))
            reserved.update(scheduled(consumer))
        except RuntimeError:  # the loop has added one meanwhile
            continue
        if len(reserved) > MOST_RESERVED:
            return None
        places = (message_origin.of(request.message) for request in reserved)
        return dict(Counter(place.queue if place is not None else "" for place in places))
    return None


def unstarted_by_queue(consumer: Any) -> dict[str, int]:
    """Queue → messages from it that wait for a process, a thread or their rate limit. In the event loop."""
    waiting = [request for request in worker_state.reserved_requests if request not in worker_state.active_requests]
    for bucket in consumer.task_buckets.values():
        waiting += [request for request, _ in bucket.contents] if bucket else []
    unstarted = set(waiting).difference(scheduled(consumer))
    places = (message_origin.of(request.message) for request in unstarted)
    return dict(Counter(place.queue for place in places if place is not None))
