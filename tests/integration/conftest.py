"""Consoles on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.deployment import Deployment, deploy
from support.services import Valkey

from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console], database_url: str) -> Console:
    """A console on a real broker and, by turns, on SQLite and PostgreSQL; it knows the queues celery and emails."""
    return console_for(database_url=database_url, queues=("celery", "emails"))


@pytest.fixture
def deployment(valkey: Valkey) -> Iterator[Deployment]:
    """A broker, a producer and the records of what ran; a test starts its own workers."""
    with deploy(valkey) as made:
        yield made
