"""What kombu keeps of the messages that a worker has fetched and not acknowledged yet: a hash, and an index by time."""

from __future__ import annotations

import json
import time
from typing import Any

import redis
from kombu.transport import virtual

from opsdash import lua

_ADD = lua.load(__name__, "unacked_add")
_NOTE: Any = virtual.QoS.append
"""The part of kombu's own way that is in the worker's memory."""


def unacked_keys(channel: Any) -> list[str]:
    """Where kombu keeps what is not acknowledged: the hash and its index."""
    prefix = channel.global_keyprefix or ""
    return [prefix + channel.qos.unacked_key, prefix + channel.qos.unacked_index_key]


def client_of(channel: Any) -> redis.Redis:
    """Redis-py's own client over kombu's connections: kombu's prefixes only some commands' keys."""
    return redis.Redis(connection_pool=channel.client.connection_pool)


def add_although_full(channel: Any, message: Any, delivery_tag: str) -> None:
    """Writes a fetched message down where Redis, which is full, has refused kombu's own way.

    The refusal would end the worker, and the message would be lost: it has left its list. Cost: one script.

    Raises:
        redis.RedisError: Redis did not take it.
    """
    info = message.delivery_info
    kept = json.dumps([message._raw, info["exchange"], info["routing_key"]])
    client_of(channel).eval(_ADD, 2, *unacked_keys(channel), delivery_tag, kept, time.time())
    _NOTE(channel.qos, message, delivery_tag)
