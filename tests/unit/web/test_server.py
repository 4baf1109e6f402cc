from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bokeh.settings import settings as bokeh_settings
from support.errors import fails
from tornado.ioloop import IOLoop

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.services.console import Console
from opsdash.views.components import Card
from opsdash.views.identity import headers_needed
from opsdash.web import server as serving


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = assemble(Settings.from_env({}, auth="dev", database_url=f"sqlite:///{tmp_path / 'x.sqlite3'}"))
    yield made
    made.close()


@contextlib.contextmanager
def server(console: Console, **options: Any) -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = serving.create_server(console, **options)
    try:
        yield made
    finally:
        made.unlisten()
        made.stop()
        IOLoop.current().close(all_fds=True)
        asyncio.set_event_loop(None)


def test_development_mode_is_not_served_to_other_machines(console: Console) -> None:
    with fails(Invalid, setting="OPSDASH_AUTH"):
        serving.create_server(console, address="0.0.0.0")


def test_never_everybody_may_open_the_websocket(console: Console) -> None:
    for origin in ("*", "*.example", "*:5006"):
        with fails(Invalid, field="--allow-websocket-origin"):
            serving.create_server(console, origins=[origin])


def test_sessions_are_always_signed_with_a_key_that_is_not_the_secret_itself(console: Console) -> None:
    with server(console) as made:
        assert made._tornado.sign_sessions
        assert bokeh_settings.sign_sessions()
        key = serving.session_key(console.settings)
        assert made._tornado.secret_key == key
        assert console.settings.secret().decode() not in key


def test_a_session_keeps_the_headers_that_name_the_user_and_no_cookie(console: Console) -> None:
    with server(console) as made:
        assert made._tornado.include_cookies == []
        assert set(made._tornado.include_headers) == {"Host", "Forwarded", "X-Forwarded-For", "X-Real-Ip"}
    proxied = Settings.from_env({}, auth="header")
    assert headers_needed(proxied) == ("X-Auth-Request-User", "X-Auth-Request-Groups", "X-Forwarded-For")


def test_the_page_has_an_address_with_its_prefix(console: Console) -> None:
    with server(console, prefix="/ops/") as made:
        assert serving.page_url(made) == f"http://127.0.0.1:{made.port}/ops/operations"
        allowed = made._tornado.websocket_origins
        assert allowed == {f"localhost:{made.port}", f"127.0.0.1:{made.port}"}


@pytest.mark.parametrize(
    ("over", "setting"),
    [
        ({"auth": "header", "database_url": "postgresql://db/x"}, "OPSDASH_SECRET_KEY"),
        ({"auth": "oauth"}, "OPSDASH_AUTH"),
        ({"auth": "basic", "users_file": "/dev"}, "OPSDASH_USERS_FILE"),
        ({"auth": "basic", "users_file": "/etc/hostname"}, "OPSDASH_USERS_FILE"),
    ],
)
def test_what_can_not_be_trusted_is_not_served(
    console: Console, over: dict[str, str], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"database_url": console.settings.database_url, **over}
    monkeypatch.setattr(console, "settings", Settings.from_env({}, **given))
    with fails(Invalid, setting=setting):
        serving.create_server(console)


def test_a_wrong_setting_is_a_sentence_on_the_page_of_panel_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> Console:
        raise Invalid("expected dev or header, got 'open'", setting="OPSDASH_AUTH")

    monkeypatch.setattr(serving, "shared_console", wrong)
    door = serving.page()
    (card,) = door.select(Card)
    assert card.lines == [["none", "OPSDASH_AUTH: expected dev or header, got 'open'"]]
