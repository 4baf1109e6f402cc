"""What a worker tells of the broker's layout: read off the channel that it really uses, whatever was configured."""

from __future__ import annotations

import json
from typing import Any

MOST_EXCHANGES = 200
"""An app may make exchanges without end; a report has an end."""


def describe(consumer: Any) -> dict[str, str]:
    """Fields of the worker's report, all strings; empty while it has no channel. Attributes only: no round trip.

    Returns:
        ``layout``: JSON of prefix, separator, steps, names of kombu's unacked keys, visibility timeout, transport, db,
        control exchange, and the host without user and password. ``exchanges``: JSON list of the exchanges that its
        queues are bound to, fanout ones left out. ``expires_ms``: JSON, queue → after how long unused it is deleted.
    """
    task_consumer = consumer.task_consumer
    transport = None if task_consumer is None else task_consumer.channel.connection
    if transport is None:  # closed: the worker reconnects
        return {}
    exchanges, expires_ms = _queues(list(task_consumer.queues))
    return {
        "layout": json.dumps(_layout(task_consumer.channel, transport, consumer.app.conf), separators=(",", ":")),
        "exchanges": json.dumps(exchanges),
        "expires_ms": json.dumps(expires_ms),
    }


def _layout(channel: Any, transport: Any, conf: Any) -> dict[str, Any]:
    facts = {
        "prefix": getattr(channel, "global_keyprefix", None) or "",
        "separator": getattr(channel, "sep", None),
        "steps": [int(step) for step in getattr(channel, "priority_steps", ())] or None,
        "unacked": getattr(channel, "unacked_key", None),
        "unacked_index": getattr(channel, "unacked_index_key", None),
        "visibility_timeout_s": getattr(channel, "visibility_timeout", None),
        "transport": getattr(transport, "driver_name", None),
        "db": getattr(getattr(channel, "pool", None), "connection_kwargs", {}).get("db"),
        "control_exchange": conf.control_exchange,
        "url_host": _host(transport.client),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _host(connection: Any) -> str:
    # kombu also takes a whole URL in place of a host.
    host = str(connection.hostname or "").rpartition("@")[2].rpartition("://")[2]
    return f"{host}:{connection.port}" if connection.port else host


def _queues(queues: list[Any]) -> tuple[list[str], dict[str, int]]:
    exchanges: dict[str, None] = {}
    expires_ms: dict[str, int] = {}
    for queue in queues:
        if queue.exchange is not None and queue.exchange.type == "fanout":
            continue
        for bound in (queue, *(queue.bindings or ())):
            if bound.exchange is not None and bound.exchange.name and bound.exchange.type != "fanout":
                exchanges[bound.exchange.name] = None
        after_ms = (queue.queue_arguments or {}).get("x-expires") or (queue.expires or 0) * 1_000
        if after_ms:
            expires_ms[queue.name] = int(after_ms)
    return list(exchanges)[:MOST_EXCHANGES], expires_ms
