"""What a message says of itself. Nothing here runs or unpickles anything: bodies are read where they are JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

HIDDEN = "(hidden)"
LONG = 60
"""Characters of one argument that are shown."""
MOST = 300
"""Characters of all arguments together."""
DEEP = 4
UNREADABLE = "(unreadable)"
_JSON = {"application/json", "json", "application/x-json"}
_GREGORIAN_S = 12_219_292_800
"""From the calendar reform, where the clock of a UUID of version 1 begins, to 1970."""
_TIME_FIELDS = ("sent_at", "timestamp", "published_at", "enqueued_at", "created_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it lies in the queue.

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


def envelope(raw: bytes) -> dict[str, Any] | None:
    """A message's JSON; None when it is none, or no object."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def task_name(message: Mapping[str, Any] | None) -> str:
    """The task's name; Celery's first protocol has it in the body, where it is JSON."""
    if message is None:
        return UNREADABLE
    name = _headers(message).get("task")
    if not isinstance(name, str):
        body = decoded(message)
        name = body.get("task") if isinstance(body, dict) else None
    return name if isinstance(name, str) and name else UNREADABLE


def delivery_tag(message: Mapping[str, Any] | None) -> str:
    """Kombu's name for this one message, which it keeps when a worker gives it back; empty where there is none."""
    properties = message.get("properties") if message is not None else None
    tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
    return tag if isinstance(tag, str) else ""


def sent_at(message: Mapping[str, Any]) -> datetime | None:
    """When it was sent: from a time in its properties or headers, or from an id that carries one; None as a rule."""
    headers = _headers(message)
    properties = message.get("properties")
    times = [properties.get("timestamp") if isinstance(properties, dict) else None]
    times += [headers.get(field) for field in _TIME_FIELDS]
    return next((found for value in times if (found := _moment(value))), None) or _uuid_time(headers.get("id"))


def decoded(message: Mapping[str, Any]) -> Any:
    """The body where it is JSON; None otherwise, and for what can't be read."""
    if message.get("content-type") not in _JSON:
        return None
    body, properties = message.get("body"), message.get("properties")
    try:
        if isinstance(properties, dict) and properties.get("body_encoding") == "base64":
            return json.loads(base64.b64decode(body or ""))
        return json.loads(body or "")
    except (ValueError, TypeError, RecursionError, binascii.Error):
        return None


def argument_text(message: Mapping[str, Any]) -> str:
    """All arguments as one text to search in; empty where they are not JSON."""
    body = decoded(message)
    if isinstance(body, list) and len(body) >= 2:
        return json.dumps(body[:2], ensure_ascii=False)
    if isinstance(body, dict):
        return json.dumps([body.get("args"), body.get("kwargs")], ensure_ascii=False)
    return ""


def describe(raw: bytes, *, position: int, priority: int, redact: str) -> Message:
    """What an operator may see of one message.

    Args:
        redact: Regular expression: an argument whose name or text it finds is hidden.
    """
    message = envelope(raw)
    known = Message(position=position, priority=priority, size_bytes=len(raw))
    if message is None:
        return replace(known, unreadable="unreadable: no JSON message of Celery's")
    headers, sent = _headers(message), sent_at(message)
    body = decoded(message)
    old = body if isinstance(body, dict) else {}  # Celery's first protocol
    retries = headers.get("retries", old.get("retries", 0))
    return replace(
        known,
        name=task_name(message),
        id=str(headers.get("id") or old.get("id") or ""),
        sent_at=sent,
        age_s=None if sent is None else max(0.0, time.time() - sent.timestamp()),
        eta=_moment(headers.get("eta") or old.get("eta")),
        retries=retries if isinstance(retries, int) else 0,
        arguments=_arguments(message, body, re.compile(redact)),
    )


def _arguments(message: Mapping[str, Any], body: Any, redact: re.Pattern[str]) -> str:
    if body is None:
        kind = str(message.get("content-type") or "unknown content").removeprefix("application/").removeprefix("x-")
        return f"not shown ({'pickle' if kind == 'python-serialize' else kind[:LONG]})"
    if isinstance(body, dict):
        args, kwargs = body.get("args"), body.get("kwargs")
    elif isinstance(body, list) and len(body) >= 2:
        args, kwargs = body[:2]
    else:
        return "not shown (no arguments of Celery's)"
    shown = [_shown(value, redact, 0) for value in (args if isinstance(args, list) else [args] if args else [])]
    if isinstance(kwargs, dict):
        shown += [f"{_short(str(k))}={_named(str(k), v, redact, 0)}" for k, v in kwargs.items()]
    text = ", ".join(shown)
    return text if len(text) <= MOST else f"{text[:MOST]}…"


def _named(name: str, value: Any, redact: re.Pattern[str], depth: int) -> str:
    return HIDDEN if redact.search(name) else _shown(value, redact, depth)


def _shown(value: Any, redact: re.Pattern[str], depth: int) -> str:
    if isinstance(value, (dict, list)) and depth >= DEEP:
        return "…"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_short(str(k))}: {_named(str(k), v, redact, depth + 1)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_shown(inner, redact, depth + 1) for inner in value) + "]"
    if not isinstance(value, str):
        return HIDDEN if redact.search(str(value)) else _short(json.dumps(value))
    return HIDDEN if redact.search(value) else json.dumps(_short(value), ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG // 3]}… ({len(text):,} characters)"


def _headers(message: Mapping[str, Any]) -> Mapping[str, Any]:
    headers = message.get("headers")
    return headers if isinstance(headers, dict) else {}


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC) if value > 1e9 else None
        found = datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _uuid_time(value: Any) -> datetime | None:
    try:
        found = UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None
    if found.version == 7:
        return _moment((found.int >> 80) / 1000)
    if found.version == 1:
        return _moment(found.time / 1e7 - _GREGORIAN_S)
    return None
