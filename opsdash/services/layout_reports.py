"""What workers report of the broker's layout, read with care: a hash in Redis is outside input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FIELDS = ("layout", "exchanges", "hostname")
"""Of a worker's hash; what `opsdash.worker.layout` writes."""
LONGEST = 200
"""Characters of a name or separator that are believed."""
MOST_STEPS = 256
LARGE_REPORT = 32 * 1_024
"""Characters of a field that is not looked into: a worker sends a few hundred."""


def facts(text: str | None) -> dict[str, Any]:
    """The field ``layout`` as fields of `Layout`, without the prefix; what is not as it must be is left out."""
    told = _json(text)
    if not isinstance(told, Mapping):
        return {}
    found: dict[str, Any] = {}
    for name in ("separator", "unacked", "unacked_index", "transport", "control_exchange"):
        value = told.get(name)
        if isinstance(value, str) and 0 < len(value) <= LONGEST:
            found[name] = value
    steps = told.get("steps")
    if isinstance(steps, list) and 0 < len(steps) <= MOST_STEPS and all(type(step) is int for step in steps):
        found["priority_steps"] = tuple(steps)
    timeout_s = told.get("visibility_timeout_s")
    if isinstance(timeout_s, int | float) and 0 < timeout_s < 1e9:
        found["visibility_timeout_s"] = float(timeout_s)
    return found


def exchanges(text: str | None) -> list[str]:
    """The field ``exchanges``: names; none where it is nonsense."""
    told = _json(text)
    return (
        [name for name in told if isinstance(name, str) and 0 < len(name) <= LONGEST] if isinstance(told, list) else []
    )


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text and len(text) <= LARGE_REPORT else None
    except (ValueError, RecursionError):  # the hash is outside input
        return None
