from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import pytest
from bokeh.document import Document
from bokeh.server.contexts import BokehSessionContext
from bokeh.settings import settings as bokeh_settings
from bokeh.util.token import generate_jwt_token, generate_session_id
from panel.io.state import set_curdoc

from opsdash.config.settings import Settings
from opsdash.model import Actor, Role
from opsdash.model.usernames import os_user
from opsdash.views import identity
from opsdash.views.identity import Closed, cookies_needed, headers_needed, identify, session_key


@dataclass
class Request:
    """What a browser's request tells."""

    remote_ip: str = "127.0.0.1"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def settings(**over: object) -> Settings:
    return Settings.from_env({}, **over)


def refused(answer: Actor | Closed) -> str:
    assert isinstance(answer, Closed), answer
    return answer.heading


def test_unless_configured_it_is_closed_and_says_how_to_open_it() -> None:
    answer = identify(settings(), Request(), signed=True)
    assert isinstance(answer, Closed)
    assert "OPSDASH_AUTH=dev" in answer.commands


def test_in_development_mode_the_local_user_acts_and_nobody_else() -> None:
    dev = settings(auth="dev")
    assert identify(dev, Request()) == Actor(name=os_user(), role=Role.ADMIN, surface="page")
    assert "this machine only" in refused(identify(dev, Request(remote_ip="10.0.0.8")))
    assert "this machine only" in refused(identify(dev, Request(remote_ip="")))


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "10.0.0.8"},
        {"forwarded": "for=10.0.0.8"},
        {"X-Real-IP": "10.0.0.8"},
        {"Host": "rebound.evil.example:5006"},
    ],
)
def test_in_development_mode_a_proxy_or_a_foreign_name_is_not_this_machine(
    headers: dict[str, str],
) -> None:
    assert "this machine only" in refused(identify(settings(auth="dev"), Request(headers=headers)))


@pytest.mark.parametrize("host", ["localhost:5006", "127.0.0.1:5006", "[::1]:5006", "localhost"])
def test_in_development_mode_this_machine_may_be_called_by_its_own_names(host: str) -> None:
    assert isinstance(identify(settings(auth="dev"), Request(headers={"Host": host})), Actor)


def test_in_development_mode_a_header_makes_nobody_somebody_else() -> None:
    answer = identify(settings(auth="dev"), Request(headers={"X-Auth-Request-User": "maria"}))
    assert isinstance(answer, Actor)
    assert answer.name == os_user()


def test_a_proxys_user_has_the_role_of_its_name_or_its_groups_and_case_of_the_header_does_not_matter() -> None:
    proxied = settings(auth="header", operators=("group:sre",), viewers=("paul",))
    maria = Request(headers={"x-auth-request-user": "maria", "X-AUTH-REQUEST-GROUPS": "dev, sre"})
    assert identify(proxied, maria, signed=True) == Actor(
        name="maria", role=Role.OPERATOR, surface="page", client="127.0.0.1"
    )
    paul = Request(headers={"X-Auth-Request-User": "paul"})
    assert identify(proxied, paul, signed=True) == Actor(
        name="paul", role=Role.VIEWER, surface="page", client="127.0.0.1"
    )


@pytest.mark.parametrize("mode", ["header", "basic", "oauth"])
def test_over_the_network_nobody_comes_in_while_sessions_are_not_signed(mode: str) -> None:
    maria = Request(headers={"X-Auth-Request-User": "maria"})
    assert "not signed" in refused(identify(settings(auth=mode, admins=("maria",)), maria, signed=False))


def test_a_name_counts_from_the_proxy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied = settings(auth="header", admins=("maria",), trusted_proxies=("10.0.0.0/24",))
    headers = {"X-Auth-Request-User": "maria", "X-Forwarded-For": "10.0.0.7"}
    assert isinstance(identify(proxied, Request("10.0.0.7", headers=headers), signed=True), Actor)
    for peer in ("127.0.0.1", "10.0.1.7", "", "203.0.113.9"):
        assert "proxy" in refused(identify(proxied, Request(peer, headers=headers), signed=True))


def test_the_actor_knows_the_clients_address_as_the_proxy_gives_it() -> None:
    proxied = settings(auth="header", admins=("maria",))
    headers = {"X-Auth-Request-User": "maria", "X-Forwarded-For": "8.8.8.8, 203.0.113.9"}
    answer = identify(proxied, Request(headers=headers), signed=True)
    assert isinstance(answer, Actor)
    assert answer.client == "203.0.113.9"


@pytest.mark.parametrize("name", ["group:sre", "*"])
def test_a_user_who_is_named_like_a_group_is_not_in_it(name: str) -> None:
    proxied = settings(auth="header", admins=("group:sre",))
    assert "no role" in refused(identify(proxied, Request(headers={"X-Auth-Request-User": name}), signed=True))


class Bokeh:
    """Its settings, as far as identity asks."""

    def __init__(self, key: str) -> None:
        self.secret_key = lambda: key


def test_names_and_passwords_count_only_in_sessions_that_opsdash_signed_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = settings(auth="basic", admins=("maria",), secret_key="a-key-for-tests-only")
    maria = Request(headers={"X-Auth-Request-User": "maria"})
    monkeypatch.setattr(identity, "bokeh_settings", Bokeh("the key of somebody's panel serve"))
    assert "not signed in" in refused(identify(listed, maria, signed=True))
    monkeypatch.setattr(identity, "bokeh_settings", Bokeh(session_key(listed)))
    answer = identify(listed, maria, signed=True)
    assert isinstance(answer, Actor)
    assert (answer.name, answer.role) == ("maria", Role.ADMIN)
    assert "not signed in" in refused(identify(listed, Request(), signed=True))


@dataclass
class Signed(Request):
    """A request with cookies."""

    cookies: dict[str, str] = field(default_factory=dict)


class Panel:
    """What Panel says of the user its provider signed in."""

    def __init__(self, user: str | None, **info: object) -> None:
        self.user, self.user_info = user, info


def by_provider(monkeypatch: pytest.MonkeyPatch, panel: Panel, request: Request | None = None) -> Actor | Closed:
    monkeypatch.setattr(identity.pn, "state", panel)
    given = settings(auth="oauth", admins=("ann@example.org",), operators=("group:sre",), viewers=("*",))
    return identify(given, request or Signed(), signed=True)


def test_a_providers_user_has_the_role_of_its_name_or_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    for panel, role in (
        (Panel("ann@example.org"), Role.ADMIN),
        (Panel("bob", groups=["dev", "sre"]), Role.OPERATOR),
        (Panel("bob", roles=["sre"]), Role.OPERATOR),
        (Panel("bob", groups="sre", roles=[{"name": "sre"}]), Role.VIEWER),
        (Panel("bob", groups=None), Role.VIEWER),
    ):
        answer = by_provider(monkeypatch, panel)
        assert isinstance(answer, Actor)
        assert (answer.name, answer.role, answer.client) == (panel.user, role, "127.0.0.1")


def test_a_guest_is_nobody_even_where_everyone_signed_in_has_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not signed in" in refused(by_provider(monkeypatch, Panel(None)))
    forged = Signed(cookies={"is_guest": "1"})
    assert "not signed in" in refused(by_provider(monkeypatch, Panel("guest"), forged))
    assert "is_guest" not in cookies_needed(settings(auth="oauth"))


def test_a_sessions_token_keeps_what_names_the_caller_and_nothing_else() -> None:
    by_name = ("X-Auth-Request-User", "X-Auth-Request-Groups", "X-Forwarded-For")
    for mode, headers, cookies in (
        (None, (), ()),
        ("header", by_name, ()),
        ("basic", by_name, ()),
        ("oauth", ("X-Forwarded-For",), ("user", "id_token")),
    ):
        assert headers_needed(settings(auth=mode)) == headers
        assert cookies_needed(settings(auth=mode)) == cookies


@pytest.mark.parametrize("name", ["maria,eve", "maria\neve", "m" * 201, "maria\u202e"])
def test_a_name_that_may_be_two_or_hide_something_is_not_taken(name: str) -> None:
    request = Request(headers={"X-Auth-Request-User": name})
    assert "can't be trusted" in refused(identify(settings(auth="header", admins=("*",)), request, signed=True))


def test_without_a_user_or_a_role_nobody_comes_in() -> None:
    proxied = settings(auth="header", admins=("maria",))
    assert "not signed in" in refused(identify(proxied, Request(), signed=True))
    stranger = Request(headers={"X-Auth-Request-User": "stranger"})
    assert "no role" in refused(identify(proxied, stranger, signed=True))


@pytest.mark.parametrize("query", ["bokeh-session-id=x", "a=1&bokeh-token=x", "BOKEH-SESSION-ID=x"])
def test_a_link_that_brings_its_own_session_is_turned_away(query: str) -> None:
    for mode in ("dev", "header"):
        assert "link" in refused(identify(settings(auth=mode), Request(query=query), signed=True))


@pytest.mark.parametrize(
    ("key", "signed", "heading"),
    [
        (b"k" * 32, True, None),
        (b"x" * 32, True, "Sessions are not signed"),
        (None, False, "Sessions are not signed"),
    ],
)
def test_a_session_that_an_adapter_did_not_sign_is_nobodys_however_bokeh_is_set(
    monkeypatch: pytest.MonkeyPatch, key: bytes | None, signed: bool, heading: str | None
) -> None:
    # Not by the environment: a console that another test has served in this process has set them for good.
    monkeypatch.setattr(bokeh_settings.sign_sessions, "_user_value", True)
    monkeypatch.setattr(bokeh_settings.secret_key, "_user_value", "k" * 32)
    session = generate_session_id(secret_key=key, signed=signed)
    context = BokehSessionContext(session, None, document := Document())
    context._token = generate_jwt_token(session, secret_key=key, signed=signed)
    document._session_context = weakref.ref(context)
    maria = Request(headers={"X-Auth-Request-User": "maria"})
    with set_curdoc(document):
        answer = identify(settings(auth="header", admins=("maria",)), maria)
    assert (answer.heading if isinstance(answer, Closed) else None) == heading
