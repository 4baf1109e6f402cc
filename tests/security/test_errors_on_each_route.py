"""Something breaks, on every route: a browser hears that it did, and nothing of where or why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bokeh
import pytest
from bokeh.server.views.static_handler import StaticHandler
from panel.io.server import DocHandler
from support.pages import PageServer

import opsdash
from opsdash.api import health, reads
from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.services.console import Console
from opsdash.text import without_folders
from opsdash.views import page as page_module
from opsdash.views.components import Card
from opsdash.web import handler
from opsdash.web import server as serving
from opsdash.web.auth import login

MARIA = {"X_Auth_Request_User": "maria"}
TOKEN = "token-of-the-viewer-0123456789"
INSIDE = "/srv/opsdash/inside.py, line 7"
PLACES = ("Traceback", INSIDE, "inside.py", str(Path(opsdash.__file__).parent), str(Path(bokeh.__file__).parents[1]))


def broken(*_args: Any, **_more: Any) -> Any:
    raise RuntimeError(INSIDE)


def tells_nothing(text: str) -> bool:
    return not any(place in text for place in PLACES)


@pytest.fixture
def server(serve: Callable[..., PageServer], tmp_path: Path) -> PageServer:
    tokens = Settings.from_env({"OPSDASH_API_TOKENS": f"eve:viewer:{TOKEN}"}).api_tokens
    return serve(operators=("maria",), api_tokens=tokens)


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        (handler.Alive, "get", "/healthz"),
        (health.Readiness, "get", "/readyz"),
        (reads.Look, "get", "/api/v1/status"),
        (DocHandler, "get", "/operations"),
        (DocHandler, "prepare", "/operations"),
        (StaticHandler, "get", "/static/js/bokeh.min.js"),
        (StaticHandler, "prepare", "/static/js/bokeh.min.js"),
    ],
)
def test_a_route_that_breaks_says_only_that_it_did(
    server: PageServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: Any,
    method: str,
    path: str,
) -> None:
    monkeypatch.setattr(kind, method, broken)
    answer = server.ask(path, Authorization=f"Bearer {TOKEN}", **MARIA)
    assert answer.status == 500
    assert tells_nothing(answer.text + str(answer.headers))
    assert INSIDE in caplog.text
    caplog.clear()


def test_a_sign_in_that_breaks_says_only_that_it_did(
    serve: Callable[..., PageServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    server = serve(auth="basic", users_file=str(tmp_path / "users"))
    for method in ("get", "post"):
        monkeypatch.setattr(login.Login, method, broken)
        answer = server.ask("/login", method.upper(), Origin=server.origin)
        assert (answer.status, tells_nothing(answer.text)) == (500, True)
    caplog.clear()


def document(server: PageServer) -> str:
    """Everything a browser gets: the page, and by the websocket its document."""
    html = server.ask(**MARIA)
    with server.socket(html.token, **MARIA) as let_in:
        assert let_in
        return html.text + "".join(told(server, [json.dumps({"msgtype": "PULL-DOC-REQ", "msgid": "1"}), "{}", "{}"]))


def told(server: PageServer, message: list[str]) -> list[str]:
    """The three parts of the answer to a message, and why the websocket was closed, where it was."""
    server.say(message)
    loop, connection = server._talk

    async def listen() -> list[str]:
        parts: list[str] = []
        while len(parts) < 3:
            part = await connection.read_message()
            if part is None:
                return [*parts, f"{connection.close_code} {connection.close_reason}"]
            if parts or any(kind in str(part) for kind in ("REPLY", "ERROR")):  # else what the page sends by itself
                parts.append(str(part))
        return parts

    return loop.run_until_complete(asyncio.wait_for(listen(), 20))


def test_a_page_that_breaks_while_it_is_made_says_only_that_it_did(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(page_module, "Session", broken)
    shown = document(server)
    assert "The page could not be made" in shown
    assert tells_nothing(shown)
    assert INSIDE in caplog.text
    caplog.clear()


@pytest.mark.parametrize(
    "message",
    [
        [json.dumps({"msgtype": "PATCH-DOC", "msgid": "1"}), "{}", json.dumps({"events": "<script>"})],
        [json.dumps({"msgtype": "PATCH-DOC", "msgid": "1"}), "{}", json.dumps({"events": [{"kind": "x"}]})],
        [json.dumps({"msgtype": "PUSH-DOC", "msgid": "1"}), "{}", json.dumps({"doc": {"roots": 5}})],
        [json.dumps({"msgtype": "OK", "msgid": "1"}), "{}", "{}"],
        [json.dumps({"msgtype": INSIDE, "msgid": "1"}), "{}", "{}"],
        ["{", "{}", "{}"],
    ],
)
def test_a_message_that_can_not_be_taken_is_answered_without_a_traceback(
    server: PageServer, message: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with server.socket(server.ask(**MARIA).token, **MARIA) as let_in:
        assert let_in
        answer = "".join(told(server, message))
        server._hung_up = True
    assert answer
    assert tells_nothing(answer)
    assert "Error" not in answer
    caplog.clear()


@pytest.mark.parametrize(
    "path",
    ["/static/nothing.js", "/static/extensions/panel/nothing.js", "/static/extensions/nothing/x", "/nothing", "/panel",
     "/components/opsdash.views.components/Channel/_bundle_path/nothing.js", "/static/", "/api/v1/nothing", "/login"],
)  # fmt: skip
def test_what_is_not_there_is_not_told_where_it_was_looked_for(server: PageServer, path: str) -> None:
    answer = server.ask(path, **MARIA)
    assert 400 <= answer.status < 500
    assert tells_nothing(answer.text + str(answer.headers))


def test_a_database_file_that_is_not_there_is_named_without_its_folder(
    serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    tokens = Settings.from_env({"OPSDASH_API_TOKENS": f"eve:viewer:{TOKEN}"}).api_tokens
    file = tmp_path / "deep" / "ops.sqlite3"
    server = serve(operators=("maria",), api_tokens=tokens, database_url=f"sqlite:///{file}")
    answer = server.ask("/api/v1/audit", Authorization=f"Bearer {TOKEN}")
    assert (answer.status, "There is no database file ops.sqlite3" in answer.text) == (503, True)
    assert str(tmp_path) not in answer.text
    console: Console = server.console
    assert str(tmp_path) not in console.snapshot().database_error


def test_a_setting_that_names_a_file_is_told_by_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Console:
        raise Invalid(f"OPSDASH_SECRET_KEY: not set, and {INSIDE} can't be used")

    monkeypatch.setattr(serving, "shared_console", refuse)
    door = serving.page()
    (card,) = door.select(Card)
    assert card.lines == [["none", "OPSDASH_SECRET_KEY: not set, and …/inside.py, line 7 can't be used"]]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("FileNotFoundError('/srv/app/conf.py')", "FileNotFoundError('…/conf.py')"),
        ("at /srv/app/conf.py, line 3", "at …/conf.py, line 3"),
        ("redis://host:6379/0 and https://x.example/a/b", "redis://host:6379/0 and https://x.example/a/b"),
        ("12/24/7 and/or a/b/c", "12/24/7 and/or a/b/c"),
    ],
)
def test_a_file_is_named_without_its_folders(text: str, kept: str) -> None:
    assert without_folders(text) == kept
