"""What a page may ask for at once: one thing of each kind, and of what waits meanwhile the newest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """The turns of one browser session: however often it asks, it waits for one answer of each kind."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    @asynccontextmanager
    async def turn(self, kind: str) -> AsyncIterator[bool]:
        """Waits until what runs of this kind has ended; False where a newer one has taken the place meanwhile."""
        if kind in self._running:
            self._end_wait(kind, turn=False)
            mine = self._waiting[kind] = asyncio.get_running_loop().create_future()
            try:
                newest = await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled() and mine.result():  # it had just got the turn
                    self._pass_on(kind)
                raise
            if not newest:
                yield False
                return
        self._running.add(kind)
        try:
            yield True
        finally:
            self._pass_on(kind)

    def _pass_on(self, kind: str) -> None:
        if not self._end_wait(kind, turn=True):
            self._running.discard(kind)

    def _end_wait(self, kind: str, *, turn: bool) -> bool:
        """Tells the one that waits, if one does, whether it is its turn."""
        waiting = self._waiting.pop(kind, None)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(turn)
        return True
