from __future__ import annotations

import re

from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from opsdash.web.response_headers import SecurityHeaders, policy

HTML = b'<head><script type="x">1</script><script>2</script></head><body>&lt;script&gt; <scripture></body>'


def answered(kind: str, chunk: bytes) -> tuple[HTTPHeaders, bytes]:
    start = RequestStartLine("GET", "/", "HTTP/1.1")
    request = HTTPServerRequest(start_line=start, headers=HTTPHeaders({"Host": "x"}))
    headers = HTTPHeaders({"Content-Type": kind, "Content-Length": str(len(chunk)), "Server": "TornadoServer/6"})
    headers["Access-Control-Allow-Origin"] = "*"
    _, headers, chunk = SecurityHeaders(request).transform_first_chunk(200, headers, chunk, True)
    return headers, chunk


def test_no_answer_may_be_framed_guessed_at_or_read_by_another_site() -> None:
    for kind, chunk in (("text/html; charset=UTF-8", HTML), ("application/json", b"{}"), ("", b"")):
        headers, _ = answered(kind, chunk)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert not any(name.startswith(("Server", "Access-Control")) for name in headers)


def test_the_policy_names_no_foreign_host_and_lets_no_text_become_a_script() -> None:
    for text in (policy(), policy("abc")):
        assert "default-src 'none'" in text
        assert not re.search(r"https?:|\*|unsafe-eval|ws:", text)
        assert "unsafe-inline" not in text.split("script-src")[1].split(";")[0]


def test_a_pages_own_scripts_get_a_nonce_that_is_new_each_time() -> None:
    headers, chunk = answered("text/html", HTML)
    (nonce,) = re.findall(r"'nonce-([^']+)'", headers["Content-Security-Policy"])
    mark = f'<script nonce="{nonce}"'.encode()
    assert chunk.count(mark) == 2
    assert b"<scripture>" in chunk
    assert headers["Content-Length"] == str(len(chunk))
    assert headers["Cache-Control"] == "no-store"
    assert nonce not in answered("text/html", HTML)[0]["Content-Security-Policy"]


def test_what_is_no_page_is_left_as_it_is() -> None:
    headers, chunk = answered("text/plain", HTML)
    assert chunk == HTML
    assert "nonce" not in headers["Content-Security-Policy"]
