"""Consoles on real servers, as the integration tests make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsdash.services.console import Console
from opsdash.settings import Settings


@pytest.fixture
def console_for(settings_for: Callable[..., Settings]) -> Iterator[Callable[..., Console]]:
    """Makes consoles on a real broker and, unless given, a SQLite file; closes them afterwards."""
    made: list[Console] = []

    def make(**over: Any) -> Console:
        made.append(Console(settings_for(**over)))
        return made[-1]

    yield make
    for console in made:
        console.close()
