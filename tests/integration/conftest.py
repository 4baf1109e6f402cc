"""Consoles on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.deployment import Deployment, deploy
from support.services import Valkey

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


@pytest.fixture
def console(console_for: Callable[..., Console], database_url: str) -> Console:
    """A console on a real broker and, by turns, on SQLite and PostgreSQL; it knows the queues celery and emails."""
    return console_for(database_url=database_url, queues=("celery", "emails"))


@pytest.fixture
def deployment(valkey: Valkey) -> Iterator[Deployment]:
    """A broker, a producer and the records of what ran; a test starts its own workers."""
    with deploy(valkey) as made:
        yield made
