"""What an operator may see of a message: bounded whatever it holds, and without what looks secret."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from opsdash.redaction import HIDDEN, ITSELF, hidden_items, hidden_keys, is_secret_name, is_secret_text, masked, name_of
from opsdash.services.broker.messages import Message, decoded, envelope, headers_of, moment, sent_at, task_name
from opsdash.text import format_size

LONG = 60
"""Characters of one argument that are shown."""
MOST = 300
"""Characters of all arguments together."""
NAME = 200
"""Characters of a task's name or id."""
DEEP, MANY = 4, 50
"""Levels, and items of one level, that are shown."""
_NOTHING = r"(?!)"
_WORD = re.compile(r"[\w.-]{1,32}")
"""An argument's name that is shown although it looks secret: ``password`` and ``X-Auth-Token`` are, a token is not."""
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
        name=_short(masked(task_name(message)), NAME),
        id=_short(masked(str(headers.get("id") or old.get("id") or "")), NAME),
        sent_at=sent,
        age_s=None if sent is None else max(0.0, time.time() - sent.timestamp()),
        eta=moment(headers.get("eta") or old.get("eta")),
        retries=retries if isinstance(retries, int) else 0,
        arguments=_arguments(message, body, re.compile(redact or _NOTHING)),
    )


def _arguments(message: Mapping[str, Any], body: Any, redact: re.Pattern[str]) -> str:
    if body is None:
        kind = str(message.get("content-type") or "unknown content").removeprefix("application/").removeprefix("x-")
        kind = "pickle" if kind == "python-serialize" else _short(kind)
        return f"not shown ({kind}{', compressed' if headers_of(message).get('compression') else ''})"
    if isinstance(body, dict):
        args, kwargs = body.get("args"), body.get("kwargs")
    elif isinstance(body, list) and len(body) >= 2:
        args, kwargs = body[:2]
    else:
        return "not shown (no arguments of Celery's)"
    shown = _items(args if isinstance(args, list) else [args] if args else [], redact, 0)
    if isinstance(kwargs, dict):
        shown = [*shown, *(f"{_key(name, redact)}={text}" for name, text in _named(kwargs, redact, 0))]
    text = ", ".join(shown)
    return text if len(text) <= MOST else f"{text[:MOST]}…"


def _items(values: list[Any], redact: re.Pattern[str], depth: int) -> list[str]:
    hidden = hidden_items(values)
    if len(values) == 2 and isinstance(values[0], str) and redact.search(values[0]):
        hidden.add(1)
    shown = [
        HIDDEN if at in hidden or at + 1 in hidden else _shown(value, redact, depth)
        for at, value in enumerate(values[:MANY])
    ]
    return shown + ["…"] * (len(values) > MANY)


def _named(values: Mapping[str, Any], redact: re.Pattern[str], depth: int) -> Iterator[tuple[str, str]]:
    hidden = hidden_keys(values)
    names_secret = any(
        isinstance(value, str) and redact.search(value) for key, value in values.items() if key != "value"
    )
    for name, value in islice(values.items(), MANY):
        hide = name in hidden or redact.search(name) or (names_secret and name == "value")
        yield name, HIDDEN if hide else _shown(value, redact, depth)
    if len(values) > MANY:
        yield "…", "…"


def _key(name: str, redact: re.Pattern[str]) -> str:
    plain = _WORD.fullmatch(name) and not name_of(name) & ITSELF
    return _short(name) if plain or (not _is_secret(name, redact) and not is_secret_name(name)) else HIDDEN


def _is_secret(text: str, redact: re.Pattern[str]) -> bool:
    return is_secret_text(text) or redact.search(text) is not None


def _shown(value: Any, redact: re.Pattern[str], depth: int) -> str:
    if isinstance(value, (dict, list)) and depth >= DEEP:
        return "…"
    if isinstance(value, dict):
        return _joined("{", (f"{_key(k, redact)}: {text}" for k, text in _named(value, redact, depth + 1)), "}")
    if isinstance(value, list):
        return _joined("[", _items(value, redact, depth + 1), "]")
    if not isinstance(value, str):
        return HIDDEN if redact.search(str(value)) else _short(json.dumps(value))
    return HIDDEN if _is_secret(value, redact) else json.dumps(_short(value), ensure_ascii=False)


def _joined(opening: str, parts: Iterable[str], closing: str) -> str:
    return opening + ", ".join(parts) + closing


def _short(text: str, most: int = LONG) -> str:
    return text if len(text) <= most else f"{text[: most // 3]}… ({len(text):,} characters)"
