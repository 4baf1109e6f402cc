"""The page's token: good for whom it was made, from where, for a minute, once."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from support.pages import PageServer, payload_of
from support.workers import eventually

from opsdash.web.auth import provider
from opsdash.web.server import session_key

MARIA = {"X_Auth_Request_User": "maria"}
JOE = {"X_Auth_Request_User": "joe"}


def made(server: PageServer, *, key: str | None = None, signed: bool = True, expires_s: int = 60, **said: Any) -> str:
    """A token of the attacker's making; with no ``key`` they have stolen the server's."""
    signing = (key or session_key(server.console.settings)).encode()
    headers = {"X-Auth-Request-User": "maria", "X-Forwarded-For": "127.0.0.1"}
    return generate_jwt_token(
        generate_session_id(secret_key=signing, signed=signed),
        secret_key=signing,
        signed=signed,
        expiration=expires_s,
        extra_payload={"headers": headers, "cookies": {}, "arguments": {}, **said},
    )


def test_a_home_made_token_opens_nothing(proxied: PageServer) -> None:
    assert proxied.opens(made(proxied), **MARIA)  # what follows fails for the right reason
    assert not proxied.opens(made(proxied, key="guessed-key"), **MARIA)
    assert not proxied.opens(made(proxied, signed=False), **MARIA)


@pytest.mark.parametrize(
    "token",
    ["", "x", ".", "a.b", "..", "e30.e30", "\u00e9".encode().decode("latin-1"), "A" * 20_000, "x, y", "=.="],
)
def test_nonsense_for_a_token_is_refused_in_order(proxied: PageServer, token: str) -> None:
    assert not proxied.opens(token, **MARIA)


def test_a_token_of_nested_nonsense_does_not_exhaust_the_server(proxied: PageServer) -> None:
    deep = urlsafe_b64encode(b"[" * 9_000).decode().rstrip("=")
    assert not proxied.opens(f"{deep}.x", **MARIA)
    number = urlsafe_b64encode(json.dumps({"session_id": 5}).encode()).decode().rstrip("=")
    assert not proxied.opens(f"{number}.x", **MARIA)


def test_a_stolen_token_opens_no_page_for_somebody_else(proxied: PageServer) -> None:
    token = proxied.ask(**MARIA).token
    for thief in (JOE, {}, {"X_Auth_Request_User": "maria,joe"}, {**MARIA, "X_Auth_Request_Groups": "sre"}):
        assert not proxied.opens(token, **thief)
    assert proxied.opens(token, **MARIA)


def test_a_stolen_token_opens_no_page_from_another_address(proxied: PageServer) -> None:
    there, elsewhere = {"X_Forwarded_For": "203.0.113.9"}, {"X_Forwarded_For": "203.0.113.10"}
    token = proxied.ask(**MARIA, **there).token
    assert not proxied.opens(token, **MARIA, **elsewhere)
    assert not proxied.opens(token, **MARIA)
    assert proxied.opens(token, **MARIA, X_Forwarded_For=f"{elsewhere['X_Forwarded_For']}, 203.0.113.9")


def test_a_token_opens_one_page(proxied: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_OPENING_S", 0)
    token = proxied.ask(**MARIA).token
    with proxied.socket(token, **MARIA) as let_in:
        assert let_in
        assert not proxied.opens(token, **MARIA)


def test_a_used_token_does_not_bring_a_closed_page_back(serve: Any) -> None:
    server = serve({"unused_session_ms": 200}, operators=("maria",))
    token = server.ask(**MARIA).token
    assert server.opens(token, **MARIA)
    eventually(lambda: not server.living(), what="the session's end", timeout_s=10)
    assert not server.opens(token, **MARIA)


def test_an_expired_token_opens_nothing(proxied: PageServer) -> None:
    assert not proxied.opens(made(proxied, expires_s=0), **MARIA)
    assert not proxied.opens(made(proxied, expires_s=-3_600), **MARIA)
    payload = proxied.ask(**MARIA).payload
    fetched_now = made(proxied, expires_s=60)
    assert abs(payload["session_expiry"] - payload_of(fetched_now)["session_expiry"]) <= 5, "a page's lives a minute"


def test_a_token_holds_the_user_and_the_address_and_nothing_else_of_the_request(proxied: PageServer) -> None:
    given = {"Cookie": "proxy_session=stolen; is_guest=1", "Authorization": "Bearer stolen", "X_Real_Ip": "8.8.8.8"}
    answer = proxied.ask(**MARIA, **given, X_Forwarded_For="203.0.113.9", User_Agent="browser")
    assert answer.payload["headers"] == {"X-Auth-Request-User": "maria", "X-Forwarded-For": "203.0.113.9"}
    assert answer.payload["cookies"] == {}
    assert "stolen" not in answer.text


def test_no_token_and_no_session_comes_from_a_link(proxied: PageServer) -> None:
    token = proxied.ask(**MARIA).token
    for query in (f"bokeh-token={token}", "bokeh-session-id=mine"):
        answer = proxied.ask(f"/operations?{query}", **JOE)
        assert answer.status == 403
        assert token not in answer.text
    assert proxied.ask(**JOE, Bokeh_Session_Id="mine").status == 403
