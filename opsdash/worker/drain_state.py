"""What a worker answers to the commands of its container, and when it counts as drained."""

from __future__ import annotations

import time
from typing import Any

import opsdash
from opsdash.worker import celery_private
from opsdash.worker.gate import READY, Gate
from opsdash.worker.health import Health
from opsdash.worker.watcher import FlagWatch


def facts(
    consumer: Any, gate: Gate, health: Health, watch: FlagWatch | None, *, connected: bool, applied: bool
) -> dict[str, Any]:
    """Lengths, flags and ages only, read beside the event loop: no round trip, and it waits for nothing.

    Args:
        connected: The consumer is connected to its broker, and may fetch.
        applied: The event loop has acted upon the drain: it sends no further request for messages.

    Returns:
        ``drained`` is true when no task starts any more, none is held and none runs, and no message is on its way here:
        one that has been fetched and not read yet would end with the process. A broadcast starts nevertheless.
        ``tick_s``, ``turned_s``: for how long the event loop, the reporting thread have not been seen to turn.
        ``failed_s``: how long ago the broker last gave opsdash's own connection no answer; null: never.
    """
    closed = gate.pausing == READY and gate.state.draining and (applied or not connected)
    fetching = connected and gate.channel is not None and celery_private.is_fetching(gate.channel)
    # After the line above: a message that arrives is counted before the request for it is over.
    numbers = celery_private.counts(consumer)
    unfinished = {name: numbers[name] for name in ("active", "reserved", "scheduled")}
    unfinished["unacked"] = celery_private.accounted(consumer)
    now = time.monotonic()
    failed_at = None if watch is None else watch.failed_at
    return {
        "hostname": consumer.hostname,
        "version": opsdash.__version__,
        "pool": celery_private.pool_name(consumer.pool),
        "pausing": gate.pausing,
        "draining": gate.state.draining,
        "drained": closed and not fetching and not any(unfinished.values()),
        **unfinished,
        "connected": connected,
        "stopping": celery_private.stopping(consumer),
        "tick_s": round(health.tick_age_s, 3),
        "turned_s": 0.0 if watch is None else round(now - watch.turned_at, 3),
        "failed_s": None if failed_at is None else round(now - failed_at, 3),
    }
