"""Threads by kind: what changes something never waits in line behind what only looks."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from opsdash.errors import Unavailable
from opsdash.model import Actor, Role

T = TypeVar("T")

MOST_WAITING = 100
"""Calls of one caller that wait for one kind of thread."""


@dataclass(slots=True)
class _Line:
    """The calls of one caller: one runs, the others wait."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Pool:
    """So many threads for one kind of work; they are started when they are needed, and stay.

    Args:
        name: For the threads' names.
        threads: At most; further calls wait, in the order in which they came.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"opsdash-{name}")
        self._lines: dict[tuple[asyncio.AbstractEventLoop, str], _Line] = {}

    def start(self, call: Callable[[], object]) -> None:
        """Calls it in a thread; nobody waits for it, so it must tell of its errors itself."""
        self._executor.submit(call)

    async def run(self, call: Callable[[], T], *, caller: str = "") -> T:
        """What ``call`` returns or raises, from a thread.

        Args:
            caller: Who asks: of each one runs at a time, and the others wait without a thread, so that nobody takes
                the turns of others. Empty: no limit of that kind.

        Raises:
            Unavailable: ``MOST_WAITING`` calls of this caller wait already.
        """
        if not caller:
            return await self._run(call)
        async with self._turn(caller):
            return await self._run(call)

    async def _run(self, call: Callable[[], T]) -> T:
        run: Any = contextvars.copy_context().run  # as asyncio.to_thread does
        found: T = await asyncio.get_running_loop().run_in_executor(self._executor, run, call)
        return found

    @asynccontextmanager
    async def _turn(self, caller: str) -> AsyncIterator[None]:
        key = (asyncio.get_running_loop(), caller)
        line = self._lines.setdefault(key, _Line())
        if line.length > MOST_WAITING:
            raise Unavailable(
                f"{MOST_WAITING} requests of {caller} wait already", hint="Try again when they are answered."
            )
        line.length += 1
        try:
            async with line.turn:
                yield
        finally:
            line.length -= 1
            if not line.length:
                self._lines.pop(key, None)


ACTS = Pool("acts", 16)
"""Long work keeps one for as long as it lasts."""
PREVIEWS = Pool("previews", 4)
"""Of those who may do what they look at; for everybody else a preview is a read."""
READS = Pool("reads", 4)
SEARCHES = Pool("searches", 1)
"""For a text in the audit log, and exports of it: each keeps a core of the database busy."""
FINDS = Pool("finds", 2)
"""For a task by its id, and searches through tasks: each keeps Redis busy for half of its time."""
FIGURES = Pool("figures", 3)
"""What all pages share: reading a snapshot, and making of it what pages are sent."""
PROBES = Pool("probes", 4)
"""``/readyz`` and ``/metrics``."""
SIGN_INS = Pool("sign-ins", 2)


def by_right(actor: Actor, needed: Role, pool: Pool) -> tuple[Pool, str]:
    """The pool for ``actor``, and whose line: an operation that will be refused (no role) waits among the reads."""
    if actor.role is not None and actor.role >= needed:
        return pool, ""
    return READS, caller_of(actor)


def caller_of(actor: Actor) -> str:
    """Whose line: a token is another one than a person of the same name."""
    return f"{actor.surface} user {actor.name}"
