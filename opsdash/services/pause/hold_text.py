"""What is held, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from opsdash.model import HeldTasks
from opsdash.text import count, in_words

MOST_NAMED = 3


def held(holds: Sequence[HeldTasks], now: datetime | None) -> str:
    """``Held: payments.*, tenant acme: 312 tasks, oldest 14 minutes``; empty where there is no hold."""
    if not holds:
        return ""
    named = [one.hold.name if one.hold.kind == "task" else f"tenant {one.hold.name}" for one in holds[:MOST_NAMED]]
    more = f" and {len(holds) - MOST_NAMED} more" if len(holds) > MOST_NAMED else ""
    since = min((one.oldest_at for one in holds if one.oldest_at), default=None)
    oldest = f", oldest {in_words((now - since).total_seconds())}" if now and since else ""
    return f"Held: {', '.join(named)}{more}: {count(sum(one.held for one in holds), 'task')}{oldest}"
