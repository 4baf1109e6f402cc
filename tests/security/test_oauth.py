"""Panel's OAuth sign-in, against a provider on this machine: what it says counts, what a browser says does not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlencode, urlsplit

import pytest
from support.pages import PageServer
from support.services import free_port
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

USER = {"email": "maria@example.org", "groups": ["sre"]}


class Authorize(RequestHandler):
    def get(self) -> None:
        back = self.get_argument("redirect_uri")
        self.redirect(f"{back}?{urlencode({'code': 'one-time', 'state': self.get_argument('state')})}")


class Token(RequestHandler):
    def post(self) -> None:
        assert self.get_body_argument("code") == "one-time"
        self.finish(json.dumps({"access_token": "opaque", "token_type": "bearer"}))


class User(RequestHandler):
    def get(self) -> None:
        assert self.request.headers["Authorization"] == "Bearer opaque"
        self.finish(json.dumps(USER))


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """An identity provider that signs everybody in as maria."""
    port, ready, loops = free_port(), threading.Event(), []

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        loops.append(IOLoop.current())
        server = Application([("/authorize", Authorize), ("/token", Token), ("/user", User)]).listen(port, "127.0.0.1")
        loops[0].add_callback(ready.set)
        loops[0].start()
        server.stop()
        loops[0].close(all_fds=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield f"http://127.0.0.1:{port}"
    loops[0].add_callback(loops[0].stop)
    thread.join(10)


@pytest.fixture
def signed_by(
    provider: str, serve: Callable[..., PageServer], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., PageServer]:
    """The page where users sign in at the provider."""
    port = free_port()
    for name, value in {
        "PROVIDER": "generic",
        "KEY": "client",
        "SECRET": "client-secret",
        "AUTHORIZE_URL": f"{provider}/authorize",
        "TOKEN_URL": f"{provider}/token",
        "USER_URL": f"{provider}/user",
        "REDIRECT_URI": f"http://127.0.0.1:{port}/login",
    }.items():
        monkeypatch.setenv(f"PANEL_OAUTH_{name}", value)
    return lambda **over: serve({"port": port}, auth="oauth", **over)


def sign_in(server: PageServer) -> dict[str, str]:
    """Goes where a browser is sent; its cookies at the end."""
    cookies: dict[str, str] = {}
    asked = server.ask()
    assert asked.status == 302
    start = server.ask(asked.headers["location"].removeprefix("."))
    assert start.status == 302
    cookies |= start.cookies
    away = urlsplit(start.headers["location"])
    assert away.path == "/authorize"
    state = dict(pair.split("=", 1) for pair in away.query.split("&"))["state"]
    back = server.ask(f"/login?code=one-time&state={state}", Cookie=cookie_header(cookies))
    assert back.status == 302, back.text
    return {name: value for name, value in (cookies | back.cookies).items() if value.strip('"')}


def cookie_header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def test_the_providers_user_gets_in_and_the_page_is_theirs_alone(signed_by: Callable[..., PageServer]) -> None:
    server = signed_by(operators=("group:sre",))
    mine = {"Cookie": cookie_header(sign_in(server))}
    page = server.ask(**mine)
    assert page.status == 200
    assert set(page.payload["cookies"]) == {"user", "id_token"}
    assert set(page.payload["headers"]) == {"X-Forwarded-For"}
    assert not server.opens(page.token)
    assert not server.opens(page.token, Cookie="is_guest=1")
    assert server.opens(page.token, **mine)


@pytest.mark.parametrize("forged", ["is_guest=1", "user=maria@example.org", "user=x; is_guest=1; id_token=e30.e30.x"])
def test_a_forged_cookie_gives_nothing(
    signed_by: Callable[..., PageServer], forged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = signed_by(viewers=("*",))
    answer = server.ask(Cookie=forged)
    assert (answer.status, answer.headers["location"].partition("?")[0]) == (302, "./login")
    assert server.living() == 0


def test_a_guest_that_panel_would_let_in_is_not_let_in(
    signed_by: Callable[..., PageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANEL_OAUTH_OPTIONAL", "true")
    server = signed_by(viewers=("*",))
    assert server.ask().status == 302
    assert server.ask(Cookie="is_guest=1").status == 302
    assert server.living() == 0


def test_a_copied_cookie_of_a_provider_opens_nothing_after_its_owner_signed_out(
    signed_by: Callable[..., PageServer],
) -> None:
    server = signed_by(viewers=("*",))
    mine = {"Cookie": cookie_header(sign_in(server))}
    with server.socket(server.ask(**mine).token, **mine) as let_in:
        assert let_in
        assert server.ask("/logout", **mine).status == 200
        assert server.hangs_up()
    assert server.ask(**mine).status == 302
    assert server.ask("/logout", Cookie="user=x").status == 200
