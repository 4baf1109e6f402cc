"""What a worker does for holds that have ended while no console looks: it puts their tasks back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from celery.utils.log import get_logger

from opsdash.model import hold, untrusted
from opsdash.model.hold import EXPIRY, HeldList, lists_of
from opsdash.worker.connection import Link

logger = get_logger(__name__)

LEASE_MS = 10_000
STEP = 500
"""Messages of one step: below a millisecond."""
LOST = -1


def release_ended(link: Link, ids: Sequence[str]) -> None:
    """Releases holds that are over, each in steps, unless another process moves the messages of their queues.

    Raises:
        LINK_ERRORS: Redis doesn't answer, or refuses; another read goes on with it.
    """
    for one in ids:
        told = json.dumps({"by": EXPIRY, "at": datetime.now(UTC).isoformat()})
        if link.redis.eval(hold.BEGIN, 1, link.keys.hold, one, told) != b"gone" and _release(link, one):
            logger.warning("opsdash: hold %s has ended, and its tasks are back in their queues", one)


def _release(link: Link, one: str) -> bool:
    client, keys = link.redis, link.keys
    every = client.hscan_iter(keys.held_lists, match=f"{one}:*", count=1_000)
    left = ((_text(name), _text(key)) for name, key in every)
    fields = dict(islice((pair for pair in left if not pair[1].startswith(hold.RELEASING)), hold.MOST_LISTS))
    if not all(_join(link, held) for held in lists_of(fields, [one]) if not held.released):
        return False
    story = _story(link, one)
    names = (keys.hold, keys.held_lists, keys.hold_ended)
    at = datetime.now(UTC).isoformat()
    return bool(client.eval(hold.END, len(names), *names, one, keys.nudge, f"{one}:{at}", story))


def _join(link: Link, held: HeldList) -> bool:
    """False: another process moves this queue's messages."""
    client, keys = link.redis, link.keys
    lease = _bytes(keys.busy(held.queue))
    value = json.dumps(
        {"by": EXPIRY, "what": "release", "at": datetime.now(UTC).isoformat(), "token": secrets.token_hex(8)}
    )
    if not client.set(lease, value, px=LEASE_MS, nx=True):
        return False
    names = [keys.held(held.hold, held.step, held.queue), held.list, keys.held_lists, keys.restores]
    named = [lease, *map(_bytes, names)]
    field, queue = _bytes(held.field), _bytes(held.queue)
    left: Any = 1
    while left > 0:
        left = client.eval(hold.JOIN, len(named), *named, value, LEASE_MS, field, STEP, queue)
    if left == LOST:
        return False
    if client.get(lease) == value.encode():
        client.delete(lease)
    return True


def _story(link: Link, one: str) -> bytes | str:
    """What is written down of the hold when it is over; empty where a user released it."""
    text, who = (link.redis.hget(link.keys.hold, name) for name in (one, f"{one}{hold.RELEASING}"))
    by = untrusted.mapping(untrusted.parsed(_text(who), hold.LONGEST_HOLD)).get("by")
    if text is None or len(text) > hold.LONGEST_HOLD or by != EXPIRY:
        return ""
    return text


def _text(value: Any) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
