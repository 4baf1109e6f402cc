"""Plain ``panel serve apps/operations.py``: without opsdash's gate before it, the page itself stays closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bokeh.client import pull_session
from support import programs
from support.services import free_port, until

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.views.components import Card
from opsdash.views.view import View
from opsdash.web import server

APP = Path(__file__).parents[2] / "apps" / "operations.py"


@pytest.fixture
def panel_serve(valkey_url: str, sqlite_url: str) -> Iterator[Callable[..., str]]:
    """Starts it with these settings; gives the page's address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(**settings: str) -> str:
        port = free_port()
        given = {"OPSDASH_REDIS_URL": valkey_url, "OPSDASH_DATABASE_URL": sqlite_url, "PYTHONPATH": str(APP.parents[1])}
        command = [sys.executable, "-m", "panel", "serve", str(APP), "--port", str(port), "--address", "127.0.0.1"]
        running.append(
            programs.Popen(
                command,
                env={**os.environ, **given, **settings},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        url = f"http://127.0.0.1:{port}/operations"
        assert until(lambda: answers(url) or running[-1].poll() is not None, timeout_s=90)
        return url

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status == 200
    except OSError:  # not listening yet
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "opsdash is closed until you configure who may use it"),
        (
            {"OPSDASH_AUTH": "header", "OPSDASH_SECRET_KEY": "a-key-for-tests-and-nothing-else"},
            "Sessions are not signed",
        ),
        (
            {"OPSDASH_AUTH": "basic", "OPSDASH_SECRET_KEY": "a-key-for-tests-and-nothing-else"},
            "Sessions are not signed",
        ),
    ],
    ids=["unset", "header", "basic"],
)
def test_panel_serve_shows_nothing_to_whoever_opens_its_websocket(
    panel_serve: Callable[..., str], settings: dict[str, str], said: str
) -> None:
    session = pull_session(url=panel_serve(**settings))
    whole = json.dumps(session.document.to_json(), default=str)
    session.close()
    assert said in whole
    for figure in ("Processing Status", "celery", "Worker Health"):
        assert figure not in whole


def test_the_page_that_panel_serve_runs_is_closed_by_default(
    settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = assemble(settings_for(auth=None))
    monkeypatch.setattr(server, "shared_console", lambda: console)
    door = server.page()
    console.close()
    assert [card.title for card in door.select(Card)] == ["opsdash is closed until you configure who may use it"]
    assert not door.select(View)
