"""Memory that ended browser sessions leave behind goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

MANY = 20
"""So many sessions fewer than there were is worth the milliseconds that giving back takes."""


def malloc_trim() -> Callable[[int], int] | None:
    """The C library's; None where it has none, as on musl and macOS."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


class Tidy:
    """Watches how many sessions there are, and has malloc give back what many ended ones have left.

    A burst of page openings (a crawler, a reload after a deployment) leaves the heap full of holes that glibc keeps for
    the next one: 500 pages left 20 to 57 MB, of which 2 MB were in use. ``malloc_trim`` returns whole free pages; it
    holds the heap's lock for a few milliseconds and not Python's, and runs beside the event loop.

    Args:
        sessions: How many there are.
        trim: Gives back; None: nothing ever is.
    """

    def __init__(self, sessions: Callable[[], int], trim: Callable[[int], int] | None = None) -> None:
        self._sessions, self._trim = sessions, trim
        self._most = 0

    async def look(self) -> None:
        """Called every few seconds."""
        now = self._sessions()
        self._most = max(self._most, now)
        if self._trim is not None and self._most - now >= MANY:
            self._most = now
            await asyncio.to_thread(self._trim, 0)
