"""Attackers with a socket: the page's real server, and requests that no browser would send."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pages import PageServer

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings

SECRET_KEY = "a-key-for-tests-and-nothing-else"


@pytest.fixture
def serve(_sqlite_template: Path) -> Iterator[Callable[..., PageServer]]:
    """Serves the page with settings of one's own; Redis does not answer, and needs not."""
    running: list[PageServer] = []

    def start(options: dict[str, Any] | None = None, **over: Any) -> PageServer:
        given = {"redis_url": "redis://127.0.0.1:1/0", "database_url": f"sqlite:///{_sqlite_template}", **over}
        settings = Settings.from_env({}, **{"auth": "header", "secret_key": SECRET_KEY, **given})
        running.append(PageServer(assemble(settings), **(options or {})))
        return running[-1]

    yield start
    for server in running:
        server.stop()
        server.console.close()


@pytest.fixture
def proxied(serve: Callable[..., PageServer]) -> PageServer:
    """The page behind a proxy on this machine: maria and joe are operators."""
    return serve(operators=("maria", "joe"))


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No attack makes a traceback, and no secret of the server is in a log line."""
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.get_records("call"):
        assert record.exc_info is None, record.getMessage()
        for secret in (SECRET_KEY, "typed by maria"):
            assert secret not in record.getMessage()
