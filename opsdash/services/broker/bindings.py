"""What kombu's binding sets tell: the separator they are written with, and the queues that are bound.

A member is ``routing key SEP pattern SEP queue``. Source: kombu's Redis transport, ``Channel._queue_bind``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNIQUE = re.compile(r"(^|\.)bcast\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""Name of a queue that a Broadcast makes for one consumer."""
INNER = (".pidbox",)
"""Endings of queues that hold no tasks: remote control's mailboxes and reply queues."""
EVENTS = "celeryev."


def separators(member: str, exchange: str) -> set[str]:
    """All separators that a mailbox's binding can have been written with; empty when it is no such binding.

    Key and pattern are empty there, so a member is the separator twice and the mailbox's name. One whose hostname goes
    on as the separator ends can be read in two ways.
    """
    suffix = f".{exchange}"
    if not member.endswith(suffix):
        return set()
    longest = (len(member) - len(suffix) - 1) // 2  # a hostname has a character at least
    return {member[:size] for size in range(1, longest + 1) if member[:size] == member[size : 2 * size]}


def proven_separator(members: Iterable[str], exchange: str) -> str | None:
    """The separator of all mailboxes; None where there is none, several, or any doubt.

    Args:
        members: Of ``_kombu.binding.{exchange}``.
        exchange: Of the mailboxes, e.g. ``celery.pidbox``.
    """
    found: set[str] = set()
    for member in members:
        possible = separators(member, exchange)
        if len(possible) != 1:
            return None
        found |= possible
        if len(found) > 1:
            return None
    return found.pop() if found else None


def fits(separator: str, members: Iterable[str], exchange: str) -> bool:
    """No mailbox was bound with another separator."""
    return all(separator in separators(member, exchange) for member in members)


def bound_queue(member: str, separator: str, *, fanout: bool = False) -> str | None:
    """The queue of a binding; None where it was written otherwise, or the queue holds no tasks.

    Args:
        fanout: Whether the exchange may be one: its queues have neither key nor pattern, and no list in Redis.
    """
    parts = member.split(separator)
    if len(parts) != 3 or not is_task_queue(parts[2]):
        return None
    return None if fanout and not parts[0] and not parts[1] else parts[2]


def is_task_queue(name: str) -> bool:
    """Not a mailbox, a queue of replies or events, or one that a Broadcast has made for one consumer."""
    return bool(name) and not name.endswith(INNER) and not name.startswith(EVENTS) and not UNIQUE.search(name)
