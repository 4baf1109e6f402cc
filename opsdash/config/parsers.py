"""How the environment names the broker and the layout of its keys; each raises ValueError with what is expected."""

from __future__ import annotations

import re

from opsdash.config import broker_url


def redis_url(value: str) -> str:
    """The broker's address, in one spelling of the many that Celery and redis-py take."""
    return broker_url.read(value).url


NO_PREFIX = {'""', "''"}
"""How an environment says "none", where an empty variable counts as not set."""
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")
MAX_KEY_PART = 100


def key_prefix(value: str) -> str:
    """Kombu's ``global_keyprefix``."""
    prefix = value.strip()
    if prefix in NO_PREFIX:
        return ""
    if len(prefix) > MAX_KEY_PART or not prefix.isprintable():
        raise ValueError(f"expected global_keyprefix of the app, at most {MAX_KEY_PART} characters, got {value!r}")
    return prefix


def separator(value: str) -> str:
    """Kombu's ``sep``; a control character is written as its escape, such as the default one."""
    separator = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value.strip())
    if not 0 < len(separator) <= MAX_KEY_PART or "\0" in separator:
        raise ValueError(f"expected sep of the app, such as : or \\x06\\x16, got {value!r}")
    return separator


def priority_steps(value: str) -> tuple[int, ...]:
    """Kombu's ``priority_steps``."""
    parts = [part.strip() for part in value.split(",")]
    steps = tuple(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 3)
    if len(steps) != len(parts) or list(steps) != sorted({*steps}) or not all(step <= 255 for step in steps):
        raise ValueError(f"expected numbers from 0 to 255, the lowest first, such as 0,3,6,9; got {value!r}")
    return steps
