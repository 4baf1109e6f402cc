"""The words that a page comes with are for who may see the page, and bring no script along."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from support.pages import PageServer

from opsdash.model import PauseInfo, QueueStats, Snapshot

SEEN = "invoices-of-acme"
HOSTILE = "</div><script>alert(1)</script><script src=//evil.example/x.js>"


def with_reading(server: PageServer, **over: Any) -> PageServer:
    """Its poller has read this, and reads nothing else: an open page makes it read."""
    given = {"queues": (QueueStats(name=SEEN, waiting=3),), "redis_age_s": 0.0, "database_age_s": 0.0, **over}
    snapshot = Snapshot(taken_at=datetime.now(UTC), **given)
    server.console.poller.latest, server.console.poller._read = snapshot, lambda: snapshot
    return server


@pytest.mark.parametrize(
    ("user", "seen"), [("maria", True), ("paul", True), ("nobody", False), ("", False), ("maria, joe", False)]
)
def test_only_who_has_a_role_is_told_the_state(serve: Callable[..., PageServer], user: str, seen: bool) -> None:
    server = with_reading(serve(operators=("maria",), viewers=("paul",)))
    headers = {"X_Auth_Request_User": user} if user else {}
    page = server.ask(**headers)
    assert page.status == 200
    assert (SEEN in page.text, "As of" in page.text, "Processing Status" in page.text) == (seen,) * 3
    assert page.headers["cache-control"] == "no-store"


def test_a_closed_console_and_a_page_too_many_tell_nothing(serve: Callable[..., PageServer]) -> None:
    assert SEEN not in with_reading(serve(auth=None)).ask().text
    server = with_reading(serve(operators=("maria",), max_pages_each=1))
    texts = []
    with server.socket(server.ask(X_Auth_Request_User="maria").token, X_Auth_Request_User="maria") as let_in:
        assert let_in
        texts.append(server.ask(X_Auth_Request_User="maria").text)
    assert [SEEN in text for text in texts] == [False]


def test_no_text_of_others_becomes_a_script_that_may_run(serve: Callable[..., PageServer]) -> None:
    server = serve(operators=("maria",))
    plain = with_reading(server).ask(X_Auth_Request_User="maria").text
    pause = PauseInfo(queue=None, by=HOSTILE, reason=HOSTILE)
    queues = (QueueStats(name=HOSTILE, waiting=1, error=HOSTILE),)
    page = with_reading(server, pause=pause, queues=queues, redis_error=HOSTILE).ask(X_Auth_Request_User="maria")
    assert "alert(1)" in page.text
    assert page.text.count("<script") == plain.count("<script")
    nonces = re.findall(r'<script nonce="([^"]+)"', page.text)
    assert len(nonces) == page.text.count("<script")
    assert f"'nonce-{nonces[0]}'" in page.headers["content-security-policy"]
