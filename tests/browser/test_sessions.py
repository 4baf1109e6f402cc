"""A browser session costs something while it lasts, and nothing afterwards."""

from __future__ import annotations

import gc
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

import redis
from bokeh.document import Document
from playwright.sync_api import Page, expect
from support import services
from support.workers import eventually

from opsdash.state import PendingConfirmation
from opsdash.views.components import Board
from opsdash.views.desk import Desk
from opsdash.views.session import Session

COUNTED = (Document, Session, Desk, PendingConfirmation, Board)


def alive() -> Counter[str]:
    """How many objects of a session's kinds there are."""
    gc.collect()
    kinds = Counter({kind.__name__: 0 for kind in COUNTED})
    for thing in gc.get_objects():
        for kind in COUNTED:
            if isinstance(thing, kind):
                kinds[kind.__name__] += 1
    return kinds


def test_a_closed_session_leaves_nothing_behind_and_the_poller_rests(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    served = serve_page(options={"unused_session_ms": 1_000})
    before = alive()
    for _ in range(3):
        visit(served.url).close()
    for _ in range(6):  # fetched, and never connected: what a crawler or a health check does
        with urllib.request.urlopen(served.url) as answer:
            assert answer.status == 200
    assert alive()["Session"] > before["Session"]
    eventually(lambda: alive() - before == Counter(), what="every session's end", timeout_s=15)
    poller = served.console.poller
    eventually(lambda: poller._thread is None, what="the poller's rest", timeout_s=5)


def test_a_session_that_had_to_be_made_again_loads_nothing_from_elsewhere(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    # Thrown away before the browser's websocket comes: slow networks do that. `visit` watches what the page asks for.
    served = serve_page(options={"unused_session_ms": 100})
    page = visit(served.url)
    page.wait_for_timeout(300)


def test_a_refresh_and_an_operation_show_at_once_however_slowly_the_figures_are_read(
    serve_page: Callable[..., Any], broker: services.Valkey, visit: Callable[..., Page]
) -> None:
    served = serve_page(poll_interval_s=10.0)
    page = visit(served.url)
    expect(page.get_by_text("Processing Status: RUNNING")).to_be_visible()
    with redis.Redis.from_url(broker.url) as client:
        client.rpush("emails", *range(1_234))
    page.get_by_role("button", name="Refresh", exact=True).click()
    expect(page.get_by_role("radio", name="emails 1,234")).to_be_visible(timeout=3_000)
    page.get_by_role("radio", name="emails").check()
    page.get_by_role("button", name="Clear Queue", exact=True).click()
    page.get_by_label("Type YES to confirm").fill("YES")
    page.get_by_role("button", name="Confirm", exact=True).click()
    expect(page.get_by_role("radio", name="emails 0")).to_be_visible(timeout=3_000)
    expect(page.get_by_role("cell", name="Cleared 1,234 tasks from emails.")).to_be_visible(timeout=3_000)


def test_however_many_pages_are_open_the_figures_are_read_once(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    served = serve_page(poll_interval_s=1.0)
    poller = served.console.poller
    read, reads = poller._read, []
    poller._read = lambda: (reads.append(1), read())[1]
    pages = [visit(served.url) for _ in range(3)]
    reads.clear()
    pages[0].wait_for_timeout(2_200)
    assert 1 <= len(reads) <= 3
