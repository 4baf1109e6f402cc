from __future__ import annotations

import getpass
from dataclasses import dataclass, field

import pytest

from opsdash.model import Actor, Role
from opsdash.settings import Settings
from opsdash.views.identity import Closed, identify, is_loopback


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


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1", "localhost"])
def test_this_machine_is_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "10.0.0.8", "::", "::ffff:10.0.0.8", "evil.example", "127.0.0.1.evil"]
)
def test_another_machine_is_not(address: str) -> None:
    assert not is_loopback(address)


def test_in_development_mode_the_local_user_acts_and_nobody_else() -> None:
    dev = settings(auth="dev")
    assert identify(dev, Request()) == Actor(name=getpass.getuser(), role=Role.ADMIN, surface="page")
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
    assert answer.name == getpass.getuser()


def test_a_proxys_user_has_the_role_of_its_name_or_its_groups_and_case_of_the_header_does_not_matter() -> None:
    proxied = settings(auth="header", operators=("group:sre",), viewers=("paul",))
    maria = Request(headers={"x-auth-request-user": "maria", "X-AUTH-REQUEST-GROUPS": "dev, sre"})
    assert identify(proxied, maria, signed=True) == Actor(name="maria", role=Role.OPERATOR, surface="page")
    paul = Request(headers={"X-Auth-Request-User": "paul"})
    assert identify(proxied, paul, signed=True) == Actor(name="paul", role=Role.VIEWER, surface="page")


def test_behind_a_proxy_nobody_comes_in_while_sessions_are_not_signed() -> None:
    maria = Request(headers={"X-Auth-Request-User": "maria"})
    assert "not signed" in refused(identify(settings(auth="header", admins=("maria",)), maria, signed=False))


@pytest.mark.parametrize("name", ["maria,eve", "maria\neve", "m" * 201, "maria\u202e"])
def test_a_name_that_may_be_two_or_hide_something_is_not_taken(name: str) -> None:
    asked = Request(headers={"X-Auth-Request-User": name})
    assert "can't be trusted" in refused(identify(settings(auth="header", admins=("*",)), asked, signed=True))


def test_without_a_user_or_a_role_nobody_comes_in() -> None:
    proxied = settings(auth="header", admins=("maria",))
    assert "Nobody" in refused(identify(proxied, Request(), signed=True))
    stranger = Request(headers={"X-Auth-Request-User": "stranger"})
    assert "no role" in refused(identify(proxied, stranger, signed=True))


@pytest.mark.parametrize("query", ["bokeh-session-id=x", "a=1&bokeh-token=x", "BOKEH-SESSION-ID=x"])
def test_a_link_that_brings_its_own_session_is_turned_away(query: str) -> None:
    for mode in ("dev", "header"):
        assert "link" in refused(identify(settings(auth=mode), Request(query=query), signed=True))
