"""Event loops that Panel makes where a notebook's kernel would have its own: closed when their test ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_event_loop_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Panel sends a notebook's changes by the thread's event loop, and makes one where a kernel would have its own."""
    policy, made = asyncio.get_event_loop_policy(), list[asyncio.AbstractEventLoop]()
    make, here = policy.new_event_loop, threading.get_ident()

    def noted() -> asyncio.AbstractEventLoop:
        loop = make()
        if threading.get_ident() == here:  # another thread closes its own
            made.append(loop)
        return loop

    monkeypatch.setattr(policy, "new_event_loop", noted)
    yield
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()
