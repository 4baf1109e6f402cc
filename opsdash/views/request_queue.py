"""What a page may ask for at once: one thing of each kind, and of what waits meanwhile the newest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """The turns of one browser session: however often it asks, it waits for one answer of each kind.

    Outside of a server and of a kernel each thread that asks has its own event loop, and gets its turn there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    @asynccontextmanager
    async def turn(self, kind: str) -> AsyncIterator[bool]:
        """Waits until what runs of this kind has ended; False where a newer one has taken the place meanwhile."""
        mine = self._begin_or_wait(kind)
        if mine is not None:
            try:
                newest = await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled() and mine.result():  # it had just got the turn
                    self._pass_on(kind)
                raise
            if not newest:
                yield False
                return
        try:
            yield True
        finally:
            self._pass_on(kind)

    def _begin_or_wait(self, kind: str) -> asyncio.Future[bool] | None:
        """None: it is this one's turn. Else what it waits for; the one that waited until now does so no more."""
        with self._lock:
            if kind not in self._running:
                self._running.add(kind)
                return None
            before = self._waiting.get(kind)
            mine = self._waiting[kind] = asyncio.get_running_loop().create_future()
        if before is not None:
            self._tell(kind, before, turn=False)
        return mine

    def _pass_on(self, kind: str) -> None:
        with self._lock:
            waiting = self._waiting.pop(kind, None)
            if waiting is None:
                self._running.discard(kind)
        if waiting is not None:
            self._tell(kind, waiting, turn=True)

    def _tell(self, kind: str, waiting: asyncio.Future[bool], *, turn: bool) -> None:
        """Tells one that waits whether it is its turn; whose wait has ended meanwhile passes the turn on."""

        def tell() -> None:
            if not waiting.done():
                waiting.set_result(turn)
            elif turn:
                self._pass_on(kind)

        loop = waiting.get_loop()
        if loop is asyncio.get_running_loop():
            tell()
            return
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # that loop is closed
            if turn:
                self._pass_on(kind)
