from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from opsdash.config.settings import Settings
from opsdash.web.request_filter import (
    CHOSEN,
    ELSEWHERE,
    FOREIGN,
    MALFORMED,
    NOT_SERVED,
    Refusal,
    RequestFilter,
    plain_page,
)

HOST = "ops.example"


class Connection:
    """As much of one as a request asks for."""

    def __init__(self, peer: str) -> None:
        self.context = type("Context", (), {"remote_ip": peer, "protocol": "http"})()


def ask(
    gate: RequestFilter, uri: str = "/ops/operations", method: str = "GET", peer: str = "127.0.0.1", **headers: str
) -> Refusal | None:
    given = HTTPHeaders({"Host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}})
    connection: Any = Connection(peer)
    start = RequestStartLine(method, uri, "HTTP/1.1")
    return gate.objection(HTTPServerRequest(start_line=start, headers=given, connection=connection))


@pytest.fixture
def gate() -> RequestFilter:
    return made()


def made(**over: Any) -> RequestFilter:
    given = Settings.from_env({}, **{"auth": "header", "page_opens_per_minute": 100, **over})
    return RequestFilter(given, prefix="/ops", origins=[HOST, "127.0.0.1:5006"], clock=lambda: 0.0)


def test_a_plain_visit_passes(gate: RequestFilter) -> None:
    for uri in ("/ops/operations", "/ops/", "/ops/healthz", "/ops/static/js/bokeh.min.js?v=1", "/favicon.ico"):
        assert ask(gate, uri) is None


@pytest.mark.parametrize(
    "path",
    [
        "/ops/static/%00",
        "/ops/a%0d%0aSet-Cookie:x",
        "/ops/static/..%2f..%2fetc/passwd",
        "/ops/../x",
        "/ops/a%5cb",
        "/.",
    ],
)
def test_an_address_that_no_route_has_is_malformed(gate: RequestFilter, path: str) -> None:
    assert ask(gate, path) is MALFORMED


@pytest.mark.parametrize(
    "path",
    [
        "/ops/operations/autoload.js?bokeh-autoload-element=x",
        "/ops/operations/metadata",
        "/ops/components/antigravity/fly/_bundle_path/x.js",
        "/ops/components/opsdash.__main__/x/_bundle_path/x.js",
        "/ops/components/opsdash.views.page/x/_css/x.js",
        "/ops/components/panel.widgets/Button/_bundle_path/x.js",
        "/ops/components/",
    ],
)
def test_what_was_made_for_other_sites_is_not_served_and_no_address_imports_a_module(
    gate: RequestFilter, path: str
) -> None:
    assert ask(gate, path) is NOT_SERVED


def test_a_component_of_the_page_may_be_loaded_and_none_that_is_not_there(
    gate: RequestFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = SimpleNamespace(_bundle_path="part.bundle.js", _bundle_css=None)
    monkeypatch.setitem(sys.modules, "opsdash.installed", SimpleNamespace(Part=part))
    assert ask(gate, "/ops/components/opsdash.installed/Part/_bundle_path/part.bundle.js") is None
    for other in (
        "opsdash.installed/Part/_bundle_css",
        "opsdash.installed/Other/_bundle_path",
        "opsdash.others/A/_bundle_path",
    ):
        assert ask(gate, f"/ops/components/{other}/part.bundle.js") is NOT_SERVED


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_link_to_the_page_and_nothing_else(gate: RequestFilter, site: str) -> None:
    linked = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
    assert ask(gate, **linked, Sec_Fetch_Dest="document") is None
    assert ask(gate, **linked, Sec_Fetch_Dest="iframe") is FOREIGN
    assert ask(gate, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script") is FOREIGN
    assert ask(gate, method="POST", **linked, Sec_Fetch_Dest="document") is FOREIGN
    assert ask(gate, "/ops/operations/ws", Upgrade="websocket", Sec_Fetch_Site=site) is FOREIGN


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://ops.example.evil", "http://127.0.0.1:1"])
@pytest.mark.parametrize("sent", [{"method": "POST"}, {"method": "DELETE"}, {"Upgrade": "websocket"}])
def test_what_is_more_than_a_plain_get_comes_from_our_own_pages(
    gate: RequestFilter, origin: str, sent: dict[str, str]
) -> None:
    assert ask(gate, "/ops/api", Origin=origin, **sent) is FOREIGN
    for own in ("http://ops.example", "http://127.0.0.1:5006", "http://OPS.example"):
        assert ask(gate, "/ops/api", Origin=own, **sent) is None
    assert ask(gate, "/ops/api", **sent) is None  # no browser: its token is looked at further in


@pytest.mark.parametrize("query", ["bokeh-session-id=x", "a=1&bokeh-token=x", "BOKEH-Token=", "bokeh%2Dtoken=x"])
def test_a_link_that_brings_its_own_session_is_turned_away(gate: RequestFilter, query: str) -> None:
    assert ask(gate, f"/ops/operations?{query}") is CHOSEN
    assert ask(gate, Bokeh_Session_Id="x") is CHOSEN


def test_in_development_mode_a_foreign_name_for_this_machine_is_turned_away_on_every_route() -> None:
    gate = made(auth="dev")
    for uri in ("/ops/operations", "/ops/api/v1/status", "/ops/healthz"):
        assert ask(gate, uri, Host="rebound.example:5006") is ELSEWHERE
        assert ask(gate, uri, Host="[") is ELSEWHERE
        for own in ("localhost:5006", "127.0.0.1:5006", "[::1]:5006"):
            assert ask(gate, uri, Host=own) is None


def test_one_client_opens_so_many_pages_and_others_are_not_held_up_by_it() -> None:
    gate = made(page_opens_per_minute=3)
    for _ in range(3):
        assert ask(gate, X_Forwarded_For="203.0.113.9") is None
    refusal = ask(gate, "/ops/operations/", X_Forwarded_For="203.0.113.9")
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 20)
    assert ask(gate, "/ops/healthz", X_Forwarded_For="203.0.113.9") is None
    assert ask(gate, X_Forwarded_For="203.0.113.10") is None


def test_a_client_that_is_no_proxy_does_not_get_more_pages_by_naming_other_addresses() -> None:
    gate = made(page_opens_per_minute=3)
    seen = [ask(gate, peer="203.0.113.9", X_Forwarded_For=f"198.51.100.{n}") for n in range(4)]
    assert [refusal is None for refusal in seen] == [True, True, True, False]


def test_a_refusal_repeats_nothing_of_the_request() -> None:
    assert "<b>" not in plain_page("<b>", "")
