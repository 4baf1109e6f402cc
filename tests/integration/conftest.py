"""Consoles on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.cli import Result, off_a_terminal
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


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], deployment: Deployment, sqlite_url: str
) -> Callable[..., Result]:
    """``opsdash ARGS`` on that deployment."""
    monkeypatch.setenv("OPSDASH_REDIS_URL", deployment.server.url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", sqlite_url)
    return off_a_terminal(monkeypatch, capsys)


@pytest.fixture
def environment(console: Console, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of a running deployment."""
    variables = {
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
        "OPSDASH_QUEUES": "celery,emails",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def opsdash(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Runs ``opsdash ARGS`` off a terminal."""
    return off_a_terminal(monkeypatch, capsys)
