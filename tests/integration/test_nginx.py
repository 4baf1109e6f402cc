"""The console behind a real nginx with the configuration in ``apps/deploy/nginx``: who is acting, sizes, caches."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from support.nginx import PREFIX, TOKEN, Proxied
from support.pages import payload_of
from support.services import Valkey

MARIA = {"Cookie": "who=maria"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def stack(
    behind_nginx: Callable[..., AbstractContextManager[Proxied]],
    _sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxied]:
    mine = shutil.copy(_sqlite_template, tmp_path_factory.mktemp("nginx") / "opsdash.sqlite3")
    with behind_nginx(f"sqlite:///{mine}") as stack:
        yield stack


def named(stack: Proxied, path: str = "/operations", **headers: str) -> dict[str, Any]:
    """The headers that the console took over into a page's token."""
    answer = stack.ask(path, **headers)
    assert answer.status == 200
    token = re.search(r'"token":"([\w.-]+)"', answer.body.decode())
    assert token
    return payload_of(token[1])["headers"]


def scripts(stack: Proxied) -> list[str]:
    page = stack.ask("/operations", **MARIA).body.decode()
    return [f"/{found}" for found in re.findall(r'src="(static/[^"]+)"', page)]


@pytest.mark.long
def test_the_proxy_names_the_user_and_the_console_believes_it(stack: Proxied) -> None:
    names = named(stack, **MARIA)
    assert names == {
        "X-Auth-Request-User": "maria",
        "X-Auth-Request-Groups": "sre",
        "X-Forwarded-For": "127.0.0.1",
    }


@pytest.mark.long
def test_whoever_is_not_signed_in_gets_the_sign_in_page_and_comes_back_to_the_whole_address(stack: Proxied) -> None:
    answer = stack.ask("/operations?tab=queues&queue=emails", X_Auth_Request_User="maria")
    assert answer.status == 403
    assert answer.body.decode() == f"Sign in to go on to {PREFIX}/operations?tab=queues&queue=emails"


@pytest.mark.long
@pytest.mark.parametrize(
    "claim",
    [
        {"X_Auth_Request_User": "joe"},
        {"x_auth_request_user": "joe", "X_AUTH_REQUEST_GROUPS": "admins"},
        {"X_Auth_Request_Email": "joe"},
    ],
)
def test_what_a_client_claims_to_be_is_overwritten(stack: Proxied, claim: dict[str, str]) -> None:
    names = named(stack, **MARIA, **claim)
    assert (names["X-Auth-Request-User"], names["X-Auth-Request-Groups"]) == ("maria", "sre")


def test_a_session_without_a_name_is_nobody_whatever_the_client_claims(stack: Proxied) -> None:
    names = named(stack, Cookie="who=nameless", X_Auth_Request_User="maria", X_Auth_Request_Groups="sre")
    assert names == {"X-Forwarded-For": "127.0.0.1"}


def test_an_address_that_a_client_writes_into_the_forwarded_list_is_not_the_one_in_the_log(stack: Proxied) -> None:
    # Every hop is on this machine and trusted here; what stands left of a foreign address is not believed.
    assert named(stack, **MARIA, X_Forwarded_For="198.51.100.1, 203.0.113.9")["X-Forwarded-For"] == "203.0.113.9"


@pytest.mark.long
def test_everything_stands_under_the_prefix_and_nothing_beside_it(stack: Proxied) -> None:
    assert stack.ask("/healthz").body == b"ok"
    assert all(stack.ask(script).status == 200 for script in scripts(stack))
    assert stack.ask("/../operations", **MARIA).status == 404


@pytest.mark.parametrize(
    "way", ["/static/../operations", "/static/%2e%2e/operations", "//operations", "/./api/../operations"]
)
def test_no_way_round_leads_to_the_page_without_signing_in(stack: Proxied, way: str) -> None:
    answer = stack.ask(way, X_Auth_Request_User="maria")
    assert answer.status == 403
    assert b"Sign in" in answer.body


def test_programs_bring_a_token_and_no_name_in_a_header_helps_them(stack: Proxied, valkey: Valkey) -> None:
    assert stack.ask("/api/v1/status", X_Auth_Request_User="maria").status == 401
    assert json.loads(stack.ask("/api/v1/status", **BEARER).body)
    assert b"opsdash_build_info" in stack.ask("/metrics", **BEARER).body


def test_scripts_are_sent_gzipped_at_less_than_half_their_size(stack: Proxied) -> None:
    found = scripts(stack)
    assert len(found) >= 5
    sizes = []
    for script in found:
        small, whole = stack.ask(script, Accept_Encoding="gzip"), stack.ask(script)
        assert (small.headers["content-encoding"], small.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(small.body) == whole.body
        sizes.append((len(small.body), len(whole.body)))
    assert sum(small for small, _ in sizes) < 0.5 * sum(whole for _, whole in sizes)
    assert sum(small for small, _ in sizes) < 1_000_000


def test_the_page_is_gzipped_and_kept_by_nobody(stack: Proxied) -> None:
    first, second = (stack.ask("/operations", Accept_Encoding="gzip", **MARIA) for _ in range(2))
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["cache-control"] == "no-store"
    assert first.body != second.body
    assert "max-age=31536000" in first.headers["strict-transport-security"]


@pytest.mark.slow
def test_scripts_come_from_the_cache_while_the_console_is_away_and_pages_do_not(stack: Proxied) -> None:
    script = next(found for found in scripts(stack) if "?v=" in found)
    whole = stack.ask(script).body
    (console,) = stack.consoles
    console.stop()
    try:
        assert stack.ask(script).body == whole
        assert stack.ask("/operations", **MARIA).status == 502
    finally:
        console.start()


def test_another_site_gets_a_refusal_for_a_script_and_never_the_copy_in_the_cache(stack: Proxied) -> None:
    script = next(found for found in scripts(stack) if "?v=" in found)
    assert stack.ask(script, Sec_Fetch_Site="same-origin").status == 200
    assert stack.ask(script, Sec_Fetch_Site="cross-site").status == 403
    assert stack.ask(script, Sec_Fetch_Site="same-origin").status == 200
