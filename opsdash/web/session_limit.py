"""Pages that were fetched and whose browser has not come back yet: only so many are kept ready."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MOST_WAITING = 40
"""Sessions without a browser that are kept; each holds a third of a megabyte."""


def limit_sessions(contexts: Iterable[Any], most: int = MOST_WAITING) -> None:
    """Gives up the sessions that have waited longest for their browser, where more wait than are kept.

    A crawler, or a storm of reloads, would otherwise fill the process with sessions, and Python does not give the
    memory of that moment back. A browser that comes late has its session made again. Bokeh's next cleanup
    discards those sessions.

    Args:
        contexts: Bokeh's application contexts.
    """
    for context in contexts:
        waiting = [session for session in context.sessions if not session.connection_count]
        waiting.sort(key=lambda session: session.milliseconds_since_last_unsubscribe)
        for session in waiting[most:]:
            session.request_expiration()
