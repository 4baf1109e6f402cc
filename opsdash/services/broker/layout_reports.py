"""What workers report of the broker's layout, read with care: a hash in Redis is outside input."""

from __future__ import annotations

from typing import Any

from opsdash.model import untrusted

FIELDS = ("layout", "exchanges", "hostname")
"""Of a worker's hash; what `opsdash.worker.layout` writes."""
LONGEST = 200
"""Characters of a name or separator that are believed."""
MOST_STEPS = 256
LARGE_REPORT = 32 * 1_024
"""Characters of a field that is not looked into: a worker sends a few hundred."""


def facts(text: str | None) -> dict[str, Any]:
    """The field ``layout`` as fields of `Layout`, without the prefix; what is not as it must be is left out."""
    report = untrusted.mapping(untrusted.parsed(text, LARGE_REPORT))
    found: dict[str, Any] = {}
    for name in ("separator", "unacked", "unacked_index", "transport", "control_exchange"):
        value = report.get(name)
        if isinstance(value, str) and 0 < len(value) <= LONGEST:
            found[name] = value
    steps = report.get("steps")
    if (
        isinstance(steps, list)
        and 0 < len(steps) <= MOST_STEPS
        and all(untrusted.whole(step) is not None for step in steps)
    ):
        found["priority_steps"] = tuple(steps)
    if timeout_s := untrusted.figure(report.get("visibility_timeout_s"), 1e9):
        found["visibility_timeout_s"] = timeout_s
    return found


def exchanges(text: str | None) -> list[str]:
    """The field ``exchanges``: names; none where it is nonsense."""
    return list(untrusted.names(untrusted.parsed(text, LARGE_REPORT)))
