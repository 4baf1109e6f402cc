"""Held tasks as a worker's script leaves them."""

from __future__ import annotations

from opsdash.model.hold import Hold
from opsdash.services.broker.client import Broker


def put_aside(broker: Broker, hold: Hold, *messages: str, queue: str = "celery", step: str = "0") -> str:
    """Behind those that are held already, the oldest first; returns the key of their list."""
    client, key = broker.client, broker.keys.held(hold.id, step, queue)
    client.hset(broker.keys.held_lists, f"{hold.id}:{step}:{queue}", broker.lists(queue)[int(step)])
    before = client.llen(key)
    for at, message in enumerate(messages):
        client.lpush(key, message)
        client.lpush(f"{key}:order", f"{1764364800 + before + at}.000000 1764364800.000000")
    return key
