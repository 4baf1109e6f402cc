"""What is held, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from opsdash.model import HeldTasks
from opsdash.text import count

MOST_NAMED = 3


def held(holds: Sequence[HeldTasks]) -> str:
    """``Held: payments.*, tenant acme: 312 tasks``; empty where there is no hold."""
    if not holds:
        return ""
    named = [one.hold.name if one.hold.kind == "task" else f"tenant {one.hold.name}" for one in holds[:MOST_NAMED]]
    more = f" and {len(holds) - MOST_NAMED} more" if len(holds) > MOST_NAMED else ""
    return f"Held: {', '.join(named)}{more}: {count(sum(one.held for one in holds), 'task')}"
