"""What an operator may see of a message: bounded whatever it holds, and without what looks secret."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opsdash.redaction import masked
from opsdash.redaction.arguments import shortened, shown_body
from opsdash.services.broker.messages import Message, decoded, envelope, headers_of, moment, sent_at, task_name
from opsdash.text import format_size

NAME = 200
"""Characters of a task's name or id."""
LARGE = 256 * 1024
"""Bytes of a message that is looked into."""


def too_large(size_bytes: int, *, position: int, priority: int) -> Message:
    """A message that is not looked into."""
    why = f"not looked into: larger than {format_size(LARGE)}"
    return Message(position=position, priority=priority, size_bytes=size_bytes, unreadable=why)


def describe(raw: bytes, *, position: int, priority: int, redact: str = "") -> Message:
    """What an operator may see of one message: nothing that looks like a secret.

    Args:
        redact: Regular expression: an argument whose name or text it finds is hidden as well; empty: none.
    """
    message = envelope(raw)
    known = Message(position=position, priority=priority, size_bytes=len(raw))
    if message is None:
        return replace(known, unreadable="unreadable: not a JSON message of Celery")
    headers, sent = headers_of(message), sent_at(message)
    body = decoded(message)
    old = body if isinstance(body, dict) else {}  # Celery's first protocol
    retries = headers.get("retries", old.get("retries", 0))
    return replace(
        known,
        name=shortened(masked(task_name(message)), NAME),
        id=shortened(masked(str(headers.get("id") or old.get("id") or "")), NAME),
        sent_at=sent,
        age_s=None if sent is None else max(0.0, time.time() - sent.timestamp()),
        eta=moment(headers.get("eta") or old.get("eta")),
        retries=retries if isinstance(retries, int) else 0,
        arguments=_arguments(message, body, redact),
    )


def _arguments(message: Mapping[str, Any], body: Any, redact: str) -> str:
    if body is None:
        kind = str(message.get("content-type") or "unknown content").removeprefix("application/").removeprefix("x-")
        kind = "pickle" if kind == "python-serialize" else shortened(kind)
        return f"not shown ({kind}{', compressed' if headers_of(message).get('compression') else ''})"
    return shown_body(body, redact)
