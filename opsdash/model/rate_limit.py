"""A limit on how often tasks of one name start: what is kept of it, and what of it is one worker's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from opsdash.model import untrusted
from opsdash.values import frozen

MOST_LIMITS = 100
"""Rate limits at a time."""
LEAST_PER_S, MOST_PER_S = 1 / 3_600, 10_000.0
LONGEST_ENTRY = 4_096
"""Bytes of what is kept of one."""


@frozen(kw_only=True)
class RateLimit:
    """So many tasks of one name start in all workers together.

    Attributes:
        rate: As it was typed: ``10/s``. ``per_s``: tasks a second.
        until: When it ends by itself, in seconds since the epoch by the clock of Redis; ``expires_at``: the same.
        shares: Hostname → tasks a second that this worker starts at most, as it reports.
    """

    task: str
    rate: str
    per_s: float
    until: float
    by: str = ""
    reason: str = ""
    at: datetime | None = None
    expires_at: datetime | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


def from_entry(task: str, text: object) -> RateLimit | None:
    """What is kept of one; None for what is none of ours."""
    told = untrusted.mapping(untrusted.parsed(text, LONGEST_ENTRY))
    per_s, until = untrusted.figure(told.get("per_s"), MOST_PER_S), untrusted.figure(told.get("until"))
    if not per_s or per_s < LEAST_PER_S * 0.99 or until is None:
        return None
    return RateLimit(
        task=task,
        rate=untrusted.words(told.get("rate")),
        per_s=per_s,
        until=until,
        by=untrusted.words(told.get("by")),
        reason=untrusted.words(told.get("reason"), 1_000),
        at=untrusted.moment(told.get("at")),
        expires_at=untrusted.instant(until),
    )


def share(per_s: float, *, reporting: int, counted: int, mine: bool) -> float:
    """What one worker may start a second.

    A worker that has met such tasks shares with the others that have; one that has not yet is careful: it counts all.
    """
    among = max(1, counted) if mine else max(1, reporting, counted + 1)
    return max(per_s / among, math.ulp(1.0))
