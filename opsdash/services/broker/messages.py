"""What a message says of itself. Nothing here runs or unpickles anything: bodies are read where they are JSON."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from opsdash.keys import SENT
from opsdash.model import untrusted
from opsdash.values import frozen

LARGEST = 1024 * 1024
"""Bytes of a message or body that is looked into."""
LONGEST_NAME = 1_000
"""Characters of a task's name, or of a delivery tag."""
UNREADABLE = "(unreadable)"
_JSON = {"application/json", "json", "application/x-json"}
_GREGORIAN_S = 12_219_292_800
"""From the calendar reform, where the clock of a UUID of version 1 begins, to 1970."""
_TIME_FIELDS = ("sent_at", "timestamp", "published_at", "enqueued_at", "created_at", SENT)


@frozen(kw_only=True)
class Message:
    """One message of a queue.

    Attributes:
        position: 1 is the next to run.
        priority: The priority step of its list.
        sent_at: When it was sent, where it says so: Celery itself writes no time into a message.
        eta: Not before this, in UTC.
        arguments: What could be shown, redacted; else why not.
        unreadable: Why the message can't be read; empty when it can.
        size_bytes: Of the whole message.
    """

    position: int = 0
    name: str = ""
    id: str = ""
    priority: int = 0
    sent_at: datetime | None = None
    age_s: float | None = None
    eta: datetime | None = None
    retries: int = 0
    arguments: str = ""
    unreadable: str = ""
    size_bytes: int = 0


def envelope(raw: bytes | str) -> dict[str, Any] | None:
    """A message's JSON; None when it is none, or no object."""
    value = untrusted.parsed(raw, LARGEST)
    return value if isinstance(value, dict) else None


def task_name(message: Mapping[str, Any] | None) -> str:
    """The task's name; Celery's first protocol has it in the body, where it is JSON."""
    if message is None:
        return UNREADABLE
    name = headers_of(message).get("task")
    if not isinstance(name, str):
        body = decoded(message)
        name = body.get("task") if isinstance(body, dict) else None
    return name[:LONGEST_NAME] if isinstance(name, str) and name else UNREADABLE


def delivery_tag(message: Mapping[str, Any] | None) -> str:
    """Kombu's name for this one message, which it keeps when a worker gives it back; empty where there is none."""
    properties = message.get("properties") if message is not None else None
    tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
    return tag if isinstance(tag, str) and len(tag) <= LONGEST_NAME else ""


def sent_at(message: Mapping[str, Any]) -> datetime | None:
    """When it was sent: from a time in its properties or headers, or from an id that carries one; None as a rule."""
    headers = headers_of(message)
    properties = message.get("properties")
    times = [properties.get("timestamp") if isinstance(properties, dict) else None]
    times += [headers.get(field) for field in _TIME_FIELDS]
    return next((found for value in times if (found := moment(value))), None) or _uuid_time(headers.get("id"))


def expires_at(message: Mapping[str, Any]) -> datetime | None:
    """When Celery would not run it any more; None as a rule, and for what can't be read.

    A worker revokes a task that it is to start after its ``expires``. Celery's first protocol has it in the body.
    """
    headers = headers_of(message)
    if "task" not in headers and isinstance(body := decoded(message), dict):
        return moment(body.get("expires"))
    return moment(headers.get("expires"))


def age_s(text: bytes | str) -> float | None:
    """Seconds since a message was sent; None where it does not say."""
    message = envelope(text)
    sent = sent_at(message) if message is not None else None
    return None if sent is None else max(0.0, time.time() - sent.timestamp())


def decoded(message: Mapping[str, Any]) -> Any:
    """The body where it is JSON; None otherwise, and for what can't be read."""
    if str(message.get("content-type")) not in _JSON or headers_of(message).get("compression"):
        return None  # compressed: a small message may become one of any size
    body, properties = message.get("body"), message.get("properties")
    try:
        if isinstance(properties, dict) and properties.get("body_encoding") == "base64":
            return untrusted.parsed(base64.b64decode(body or ""), LARGEST)
    except (ValueError, TypeError, binascii.Error):
        return None
    return untrusted.parsed(body, LARGEST)


def argument_text(message: Mapping[str, Any]) -> str:
    """All arguments as one text to search in; empty where they are not JSON."""
    body = decoded(message)
    if isinstance(body, list) and len(body) >= 2:
        return json.dumps(body[:2], ensure_ascii=False)
    if isinstance(body, dict):
        return json.dumps([body.get("args"), body.get("kwargs")], ensure_ascii=False)
    return ""


def headers_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its headers; empty where they are none."""
    headers = message.get("headers")
    return headers if isinstance(headers, dict) else {}


def moment(value: Any) -> datetime | None:
    """A time in seconds, milliseconds or ISO 8601; None for anything else."""
    number = untrusted.figure(value, 1e14) if isinstance(value, (int, float)) else None
    if number is None:
        return untrusted.moment(value)
    return untrusted.instant(number / 1000 if number > 1e11 else number) if number > 1e9 else None


def _uuid_time(value: Any) -> datetime | None:
    try:
        found = UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None
    if found.version == 7:
        return moment((found.int >> 80) / 1000)
    if found.version == 1:
        return moment(found.time / 1e7 - _GREGORIAN_S)
    return None
