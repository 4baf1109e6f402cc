"""Requests from anywhere: forged headers, other sites, crooked addresses, too many, too large."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pages import PageServer

MARIA = {"X_Auth_Request_User": "maria"}
EVIL = "http://evil.example"
MEGABYTE = 1024 * 1024


def memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MEGABYTE


def test_a_header_from_an_address_that_is_not_the_proxys_names_nobody(serve: Callable[..., PageServer]) -> None:
    server = serve(operators=("maria",), trusted_proxies=("10.0.0.0/24",))
    payload = server.ask(**MARIA, X_Forwarded_For="10.0.0.7", X_Auth_Request_Groups="sre").payload
    assert payload["headers"] == {"X-Forwarded-For": "127.0.0.1"}
    token = server.ask(**MARIA).token
    assert server.opens(token)  # to say that this is not the proxy


def test_a_stolen_page_of_maria_is_not_opened_from_an_address_that_is_not_the_proxys(
    serve: Callable[..., PageServer],
) -> None:
    token = serve(operators=("maria",)).ask(**MARIA).token
    around_the_proxy = serve(operators=("maria",), trusted_proxies=("10.0.0.0/24",))
    assert not around_the_proxy.opens(token, **MARIA)


def test_the_group_header_counts_from_the_proxy_only(serve: Callable[..., PageServer]) -> None:
    proxied = serve()
    kept = proxied.ask(**MARIA, X_Auth_Request_Groups="dev,sre").payload["headers"]
    assert kept["X-Auth-Request-Groups"] == "dev,sre"
    assert "X-Auth-Request-Groups" not in proxied.ask(X_Auth_Request_Groups="sre").payload["headers"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/operations", "/operations/ws", "/healthz", "/nothing"])
def test_another_sites_request_gets_nowhere(proxied: PageServer, method: str, path: str) -> None:
    for sent in ({"Origin": EVIL}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        answer = proxied.ask(path, method, body="x", **MARIA, **sent)
        assert (answer.status, "Another site asked" in answer.text) == (403, True)


def test_another_site_opens_no_websocket(proxied: PageServer) -> None:
    token = proxied.ask(**MARIA).token
    for sent in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        assert not proxied.opens(token, **MARIA, **sent)
    assert proxied.opens(token, **MARIA)


def test_another_site_loads_nothing_of_ours_and_is_told_nothing(proxied: PageServer) -> None:
    loads = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Origin": EVIL}
    for path in ("/operations", "/operations/autoload.js?bokeh-autoload-element=x", "/static/js/bokeh.min.js"):
        answer = proxied.ask(path, **MARIA, **loads)
        assert answer.status in {403, 404}
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "token" not in answer.text
    for path in ("/operations/autoload.js?bokeh-autoload-element=x", "/operations/metadata"):
        assert proxied.ask(path, **MARIA).status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/operations", 200),
        ("/healthz", 200),
        ("/static/js/bokeh.min.js", 200),
        ("/favicon.ico", 200),
        ("/", 302),
        ("/nothing", 404),
        ("/operations/autoload.js", 404),
        ("/static/%00", 400),
    ],
)
def test_every_answer_carries_the_security_headers(proxied: PageServer, path: str, status: int) -> None:
    answer = proxied.ask(path, **MARIA)
    assert answer.status == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "http" not in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


CROOKED = [
    "/%3Cscript%3Ealert(1)%3C/script%3E",
    "/operations/%3Cimg%20src=x%20onerror=alert(1)%3E",
    "/operations?next=//evil.example",
    "/operations?a=%ff%fe&a=%00",
    "/static/../../../../etc/passwd",
    "/static/..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/static/extensions/nothing/x.js",
    "/static/extensions/panel",
    "/static/extensions/panel/../../../secret.key",
    "/static//etc/passwd",
    "/operations/static//etc/passwd",
    "/components/os/path/__file__/x",
    "/components/antigravity/a/_css/x",
    "/components/..%2f/a/b/c",
    "/a%0d%0aSet-Cookie:%20x=1",
    "/operations/ws",
    "//evil.example/operations",
    "/operations/ws/../ws",
    "/" + "a" * 10_000,
    "/operations?" + "a=b&" * 2_000,
]


@pytest.mark.parametrize("path", CROOKED, ids=lambda path: path[:40])
def test_a_crooked_address_is_answered_in_order_and_repeated_nowhere(proxied: PageServer, path: str) -> None:
    answer = proxied.ask(path, **MARIA)
    assert answer.status < 500
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text
    for payload in ("<script>alert", "<img src=x", "evil.example"):
        assert payload not in answer.text
    assert "evil.example" not in answer.headers.get("location", "")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "line",
    [
        b"GET /operations HTTP/1.1\r\nHost: x\r\nX-Auth-Request-User: maria\x00\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/operations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"BREW /operations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nHost: x\r\nCookie: =;;=\x01;a=\xff\r\nConnection: close\r\n\r\n",
        b"GET /operations HTTP/1.1\r\nHost: x\r\nX-Auth-Request-User: m\xc3\xa4\xff\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_hardly_http_ends_in_a_status_or_silence(proxied: PageServer, line: bytes) -> None:
    answer = proxied.raw(line)
    assert not answer or (answer.startswith(b"HTTP/1.1 ") and answer.split()[1] < b"500")
    assert b"Traceback" not in answer
    assert proxied.ask("/healthz").status == 200


def test_a_body_of_ten_megabytes_is_refused_and_not_kept(proxied: PageServer) -> None:
    head = b"POST /operations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (10 * MEGABYTE)
    chunked = b"POST /operations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (10 * MEGABYTE)
    small = head.replace(b"%d" % (10 * MEGABYTE), b"%d" % (2 * MEGABYTE))
    assert proxied.raw(small + bytes(2 * MEGABYTE)).split()[1] == b"400"
    before = memory_mb()
    for start in (head, chunked) * 3:
        answer = proxied.raw(start + bytes(10 * MEGABYTE))
        assert not answer or answer.split()[1] == b"400"  # or it hung up while we still wrote
    assert memory_mb() - before < 30
    assert proxied.ask("/healthz").status == 200


@pytest.mark.parametrize("size", [2, 10])
def test_a_message_of_megabytes_ends_the_websocket(proxied: PageServer, size: int) -> None:
    token = proxied.ask(**MARIA).token
    with proxied.socket(token, **MARIA) as let_in:
        assert let_in
        assert proxied.hangs_up(json.dumps({"msgid": "1", "msgtype": "PULL-DOC-REQ", "pad": "x" * size * MEGABYTE}))


@pytest.mark.parametrize(
    "messages",
    [
        ["typed by maria", "{}", "{}"],
        [json.dumps({"msgtype": "PATCH-DOC", "msgid": "1"}), "{}", json.dumps({"events": "<script>"})],
        [json.dumps({"msgtype": "SHUTDOWN", "msgid": "1"}), "{}", "{}"],
        [json.dumps({"msgtype": 5}), "[]", "5"],
    ],
)
def test_a_message_that_is_no_message_does_not_harm_the_server(proxied: PageServer, messages: list[str]) -> None:
    with proxied.socket(proxied.ask(**MARIA).token, **MARIA) as let_in:
        assert let_in
        proxied.say(messages)
    assert proxied.ask("/healthz").status == 200


def test_one_address_that_opens_too_many_pages_is_told_to_wait(serve: Callable[..., PageServer]) -> None:
    server = serve(operators=("maria",), page_opens_per_minute=3)
    answers = [server.ask(**MARIA, X_Forwarded_For="203.0.113.9") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert server.living() == 3
    assert server.ask(**MARIA, X_Forwarded_For="203.0.113.10").status == 200
    assert server.ask("/healthz", X_Forwarded_For="203.0.113.9").status == 200


def test_the_page_of_this_machine_answers_to_no_other_name(serve: Callable[..., PageServer]) -> None:
    server = serve(auth="dev")
    for path in ("/operations", "/healthz", "/static/js/bokeh.min.js"):
        answer = server.ask(path, Host=f"rebound.example:{server.port}")
        assert (answer.status, "this machine only" in answer.text) == (403, True)
    assert server.ask().status == 200


def test_a_closed_page_makes_no_difference_to_what_is_refused(serve: Callable[..., PageServer]) -> None:
    server = serve(auth=None)
    assert server.ask().status == 200
    assert server.ask(method="POST", Origin=EVIL).status == 403


def test_under_a_prefix_the_same_is_refused(serve: Callable[..., PageServer]) -> None:
    server = serve({"prefix": "/ops"}, operators=("maria",), page_opens_per_minute=2)
    assert server.ask("/operations/autoload.js").status == 404
    assert [server.ask(**MARIA).status for _ in range(3)] == [200, 200, 429]
