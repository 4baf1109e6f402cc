"""The tenant that a task is of, as its message says; asked while some tenant is held, and of running tasks."""

from __future__ import annotations

from typing import Any

from opsdash.model import untrusted
from opsdash.model.hold import kwargs_of, tenant_by

LARGE = 256 * 1024
"""Bytes of a body that is looked into."""
KNOWN = "opsdash_tenants"
"""Attribute of a message: key → tenant. A task is looked at three times, and its body is read once."""


def tenant_of(message: Any, key: str) -> str:
    """By the header of that name, else by the keyword argument; empty where neither can be read.

    Cost: a look into a dict; of a task without the header its body is read, which takes some 5 µs for 200 bytes.
    """
    known: dict[str, str] | None = getattr(message, KNOWN, None)
    if known is None:
        known = {}
        setattr(message, KNOWN, known)
    if key not in known:
        known[key] = tenant_by(message.headers or {}, key, lambda: kwargs_of(_body(message)))
    return known[key]


def _body(message: Any) -> Any:
    is_json = message.content_type == "application/json" and not (message.headers or {}).get("compression")
    return untrusted.parsed(message.body, LARGE) if is_json else None
