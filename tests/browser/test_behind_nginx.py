"""Chromium before a real nginx before real consoles: a restart, two of them, and the death of one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import pytest
import redis
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import create_engine, text
from support.dialogs import PROCESSING, confirm_button
from support.nginx import PREFIX, TOKEN, Proxied, ask
from support.services import Valkey, until

# What a browser says while a server is away, and Bokeh while it comes back.
AWAY = ("ERR_", "WebSocket", "502 (Bad Gateway)", "404 (Not Found)", "not connected so cannot send", "403 (Forbidden)")
STEP_MS = 10_000
Behind = Callable[..., AbstractContextManager[Proxied]]


@pytest.fixture
def enter(browser: Browser, watch: Any) -> Iterator[Callable[[Proxied, str], Page]]:
    """Opens the page as a user who has signed in at the proxy."""
    contexts = []

    def open_page(stack: Proxied, user: str) -> Page:
        context = browser.new_context()
        contexts.append(context)
        context.set_default_timeout(20_000)
        context.add_cookies([{"name": "who", "value": user, "url": f"http://127.0.0.1:{stack.nginx.port}"}])
        page = watch.follow(context.new_page())
        page.goto(stack.nginx.url)
        expect(page.get_by_text(PROCESSING)).to_be_visible(timeout=20_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


def confirm(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_label("Type YES to confirm").fill("YES")
    confirm_button(page).click()


def entries(database_url: str) -> list[tuple[str, str]]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = [
            tuple(row) for row in connection.execute(text("SELECT CAST(request_id AS TEXT), status FROM audit_log"))
        ]
    engine.dispose()
    return found


def pause(port: int, request: str, queue: str | None = None) -> int:
    """Asks the console, or nginx, on this port to pause; the status it answers with."""
    params = {"queue": queue} if queue else {}
    body = json.dumps({"params": params, "confirm": "YES", "request_id": request}).encode()
    sent = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    return ask(port, f"{PREFIX}/api/v1/operations/pause_processing", "POST", body, **sent).status


@pytest.mark.slow
def test_the_page_works_through_nginx_and_comes_back_by_itself_after_a_restart_of_the_console(
    behind_nginx: Behind,
    postgres_url: str,
    valkey: Valkey,
    enter: Callable[[Proxied, str], Page],
    watch: Any,
) -> None:
    watch.tolerate = AWAY
    with behind_nginx(postgres_url) as stack:
        page = enter(stack, "maria")
        assert page.url.startswith(f"http://127.0.0.1:{stack.nginx.port}{PREFIX}/operations")
        confirm(page, "Pause Processing")
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        row = page.get_by_role("region", name="Recent Operations").locator("tbody tr").first
        expect(row).to_contain_text("maria")
        (console,) = stack.consoles
        console.kill()
        console.start()
        assert pause(stack.nginx.port, str(uuid.uuid4()), queue="celery") == 200
        row = page.get_by_role("region", name="Recent Operations").locator("tbody tr").first
        expect(row).to_contain_text("ci", timeout=60_000)  # what came after the restart
        confirm(page, "Resume Processing")
        expect(page.get_by_text(PROCESSING)).to_be_visible(timeout=20_000)
        assert [status for _, status in entries(postgres_url)] == ["success"] * 3


@pytest.mark.slow
def test_of_two_consoles_either_may_die_and_nothing_is_written_twice(
    behind_nginx: Behind,
    postgres_url: str,
    valkey: Valkey,
    enter: Callable[[Proxied, str], Page],
    watch: Any,
) -> None:
    watch.tolerate = AWAY
    with behind_nginx(postgres_url, consoles=2) as stack:
        page = enter(stack, "maria")

        # The same request to both at once, ten times: one entry each.
        requests = [str(uuid.uuid4()) for _ in range(10)]
        pairs = [(console.port, request) for request in requests for console in stack.consoles]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda pair: pause(*pair, queue="celery"), pairs))
        assert set(answers) <= {200, 409}
        assert sorted(request for request, _ in entries(postgres_url)) == sorted(requests)

        # Wherever the page began, two of these three are where it is. It shows what happens meanwhile, and acts.
        first, second = stack.consoles
        for gone, other in ((first, second), (second, first), (first, second)):
            gone.kill()
            requests.append(str(uuid.uuid4()))
            assert pause(other.port, requests[-1]) == 200
            expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible(timeout=60_000)
            confirm(page, "Resume Processing")
            expect(page.get_by_text(PROCESSING)).to_be_visible(timeout=20_000)
            assert (
                pause(stack.nginx.port, requests[0], queue="celery") == 200
            )  # said again after a console died: not done again
            gone.start()
        found = entries(postgres_url)
        assert len(found) == len({request for request, _ in found}) == len(requests) + 3
        assert {status for _, status in found} == {"success"}


@pytest.mark.slow
def test_two_consoles_write_each_bucket_of_the_history_once_and_one_goes_on_alone(
    behind_nginx: Behind, postgres_url: str, valkey: Valkey
) -> None:
    with (
        behind_nginx(postgres_url, consoles=2) as stack,
        redis.Redis(port=valkey.port, decode_responses=True) as client,
    ):

        def points() -> list[int]:
            return [int(entry.partition("-")[0]) for entry, _ in client.xrange("opsdash:history:10s")]

        assert until(lambda: len(points()) >= 3, timeout_s=60)
        stack.consoles[0].kill()
        before = len(points())
        assert until(lambda: len(points()) >= before + 2, timeout_s=60)
        found = points()
        assert [later - earlier for earlier, later in pairwise(found)] == [STEP_MS] * (len(found) - 1)
        assert client.xinfo_stream("opsdash:history:10s")["entries-added"] == len(found)
