"""Whether this Celery has every private name that pausing leans on."""

from __future__ import annotations

from typing import Any

from celery.worker import state as worker_state

from opsdash.worker import message_origin
from opsdash.worker.celery_private.pools import pool_name


def missing(consumer: Any) -> str:
    """The private names this Celery doesn't have, as one readable text; empty when pausing can work."""
    channel = consumer.task_consumer.channel
    needed: list[tuple[str, Any, tuple[str, ...]]] = [
        ("consumer", consumer, ("call_soon", "task_buckets", "on_task_request")),
        ("celery.worker.state", worker_state, ("task_ready", "reserved_requests", "active_requests")),
        ("channel", channel, ("_update_queue_cycle", "_queue_cycle", "active_queues")),
    ]
    pool, kind = consumer.pool, pool_name(consumer.pool)
    if kind == "prefork":
        semaphore = getattr(consumer.controller, "semaphore", None)
        needed += guard_needs(pool._pool)
        if semaphore is not None:
            needed.append(("semaphore", semaphore, ("_waiting", "release")))
    elif kind in ("threads", "solo", "gevent", "eventlet"):
        needed.append(("pool", pool, ("on_apply",)))
    lost = [f"{label}.{name}" for label, owner, names in needed for name in names if not hasattr(owner, name)]
    return ", ".join([*lost, *message_origin.missing(channel)])


def guard_needs(pool: Any) -> list[tuple[str, Any, tuple[str, ...]]]:
    """What the last look in prefork's children leans on."""
    from opsdash.worker import prefork_guard as guard  # it loads billiard, which only prefork workers have

    return [
        ("pool", pool, guard.POOL),
        ("pool.Worker", getattr(pool, "Worker", None), guard.WORKER),
        ("pool results", getattr(pool, "_result_handler", None), guard.RESULTS),
    ]


def guard(consumer: Any) -> Any:
    """Prefork: a ``PreforkGuard``, made before the pool forks; None for other pools and where there is no fork."""
    if pool_name(consumer.pool) != "prefork" or not hasattr(consumer.pool, "Pool"):
        return None
    from opsdash.worker.prefork_guard import PreforkGuard

    return PreforkGuard(consumer)
