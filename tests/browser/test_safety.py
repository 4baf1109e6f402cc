"""What other people write, claim or craft does not reach further than it should."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from bokeh.util.token import generate_jwt_token, generate_session_id
from playwright.sync_api import Page, expect
from support import services
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

import opsdash
from opsdash.keys import Keys
from opsdash.model import Status
from opsdash.serving import session_key

KEYS = Keys()
ROOT = Path(__file__).parents[2]
PAYLOAD = "<img src=x onerror='window.__opened=1'><script>window.__opened=1</script>"


@pytest.fixture(scope="module")
def by_proxy(serve_page: Callable[..., Any]) -> Any:
    """The page behind a proxy that names the user."""
    return serve_page(auth="header", operators=("maria",), viewers=("group:support",))


@pytest.fixture
def store(broker: services.Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        yield client


def report(store: redis.Redis, hostname: str, **over: str) -> None:
    """A worker's health, as the plug-in pushes it."""
    now = str(time.time())
    health = {
        "time": now, "loop_tick": now, "pid": "1", "uptime_s": "9252", "processed": "5", "active": "1", "reserved": "2",
        "scheduled": "0", "concurrency": "4", "pool": "prefork", "memory_bytes": "", "queues": json.dumps(["celery"]),
        "paused": "0", "paused_queues": "[]", "epoch": "0", "pausing": "ready", "version": "1",
    }  # fmt: skip
    store.hset(KEYS.worker(hostname), mapping={**health, **over})
    store.zadd(KEYS.workers, {hostname: float(now)})


def test_text_that_other_people_wrote_is_shown_and_never_run(
    serve_page: Callable[..., Any], store: redis.Redis, visit: Callable[..., Page]
) -> None:
    queue = f"q{PAYLOAD}"
    served = serve_page(queues=("celery", queue), admins=("*",))
    store.rpush(queue, "x")
    report(store, f"celery@{PAYLOAD}", queues=json.dumps([queue]), pool=PAYLOAD, pausing=PAYLOAD)
    served.console.run(opsdash.PauseProcessing(reason=PAYLOAD), actor=PAYLOAD, confirm="YES")
    try:
        page = visit(served.url)
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(page.get_by_text(f"“{PAYLOAD}”")).to_be_visible()
        expect(page.get_by_text(f"Paused by {PAYLOAD} since")).to_be_visible()
        expect(page.get_by_role("cell", name=f"celery@{PAYLOAD}")).to_be_visible()
        page.get_by_role("radio", name=queue).check()
        page.get_by_role("button", name="Show details").first.click()
        page.get_by_role("button", name="Clear Queue", exact=True).click()
        expect(page.get_by_text(f"1 pending task of queue {queue} will be removed.")).to_be_visible()
        page.get_by_label("Type YES to confirm").fill("YES")
        page.get_by_role("button", name="Confirm", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text(PAYLOAD)
        page.wait_for_timeout(300)
        assert page.evaluate("window.__opened") is None
    finally:
        served.console.run(opsdash.ResumeProcessing(), actor="test", confirm="YES")


def test_a_viewer_sees_everything_and_is_told_why_the_buttons_are_off(
    by_proxy: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(
        by_proxy.url, extra_http_headers={"X-Auth-Request-User": "paul", "X-Auth-Request-Groups": "dev,support"}
    )
    expect(page.get_by_text("Processing Status: RUNNING")).to_be_visible()
    expect(page.get_by_text("paul · viewer")).to_be_visible()
    expect(page.get_by_text("Your role is viewer")).to_be_visible()
    for name in ("Pause Processing", "Resume Processing", "Clear Queue", "Sync Tenant Configs"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    shoot(page, "viewer")


def test_a_viewer_who_crafts_the_messages_of_a_click_is_refused_and_the_attempt_is_in_the_log(
    by_proxy: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(by_proxy.url, extra_http_headers={"X-Auth-Request-User": "eve", "X-Auth-Request-Groups": "support"})
    expect(page.get_by_text("Processing Status: RUNNING")).to_be_visible()
    pause = page.get_by_role("button", name="Pause Processing", exact=True)
    pause.evaluate("button => { button.disabled = false; button.click() }")
    page.get_by_label("Type YES to confirm").fill("YES")
    page.get_by_role("button", name="Confirm", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("eve has the role viewer; Pause Processing needs operator.")
    assert not store.exists(KEYS.pause())
    newest = by_proxy.console.get_recent_operations(limit=1)[0]
    assert (newest.user, newest.operation, newest.status) == ("eve", "pause_processing", Status.REFUSED)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "Nobody is signed in"),
        ({"X-Auth-Request-User": "stranger"}, "You have no role here"),
    ],
)
def test_whoever_has_no_role_sees_nothing_but_the_reason(
    by_proxy: Any, visit: Callable[..., Page], headers: dict[str, str], said: str
) -> None:
    page = visit(by_proxy.url, ready=said, extra_http_headers=headers)
    expect(page.get_by_role("heading", name=said)).to_be_visible()
    for secret in ("Processing Status", "Worker Health", "redis://"):
        assert secret not in page.content()
        expect(page.get_by_text(secret)).to_have_count(0)


def test_without_a_configured_identity_the_page_explains_how_and_shows_nothing(
    serve_page: Callable[..., Any], visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(serve_page(auth=None).url, ready="opsdash is closed")
    expect(page.get_by_text("OPSDASH_AUTH=dev opsdash serve")).to_be_visible()
    expect(page.get_by_text("Processing Status")).to_have_count(0)
    shoot(page, "closed")


def websocket_opens(url: str, token: str, origin: str) -> bool:
    """Whether the server lets a client with this token in."""

    async def attempt() -> bool:
        request = HTTPRequest(url, headers={"Origin": origin, "Sec-WebSocket-Protocol": f"bokeh, {token}"})
        try:
            connection = await websocket_connect(request, subprotocols=["bokeh", token])
        except HTTPClientError:
            return False
        let_in = await connection.read_message() is not None  # None: the server hung up
        connection.close()
        while let_in and await connection.read_message() is not None:
            pass
        return let_in

    async def in_time() -> bool:
        return await asyncio.wait_for(attempt(), 10)

    with ThreadPoolExecutor(1) as pool:  # Playwright's loop runs in this thread
        return pool.submit(asyncio.run, in_time()).result()


def test_a_home_made_session_token_that_says_maria_is_not_maria(by_proxy: Any) -> None:
    headers = {"X-Auth-Request-User": "maria"}
    address = f"ws://127.0.0.1:{by_proxy.port}/operations/ws"
    origin = f"http://127.0.0.1:{by_proxy.port}"
    for signed, key in ((False, None), (True, b"guessed-key")):
        session = generate_session_id(secret_key=key, signed=signed)
        token = generate_jwt_token(
            session, secret_key=key, signed=signed, extra_payload={"headers": headers, "cookies": {}, "arguments": {}}
        )
        assert not websocket_opens(address, token, origin)
    known = session_key(by_proxy.console.settings).encode()
    token = generate_jwt_token(
        generate_session_id(secret_key=known, signed=True),
        secret_key=known,
        signed=True,
        extra_payload={"headers": headers, "cookies": {}, "arguments": {}},
    )
    assert websocket_opens(address, token, origin)  # the check above fails for the right reason
    assert not websocket_opens(address, token, "http://evil.example")


def test_a_link_that_names_its_session_is_turned_away(by_proxy: Any, visit: Callable[..., Page]) -> None:
    # An id of one's own is refused by Bokeh; one that the server signed, earlier, for somebody else is refused by us.
    signed = generate_session_id(secret_key=session_key(by_proxy.console.settings).encode(), signed=True)
    page = visit(
        f"{by_proxy.url}?bokeh-session-id={signed}",
        ready="This link can't be used",
        extra_http_headers={"X-Auth-Request-User": "maria"},
    )
    expect(page.get_by_text("Processing Status")).to_have_count(0)


def test_the_page_lives_under_a_prefix_and_answers_a_health_check_without_a_session(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    served = serve_page(options={"prefix": "/ops"})
    page = visit(f"{served.root}/")
    assert page.url == served.url
    answer = page.request.get(f"{served.root}/healthz")
    assert (answer.status, answer.text()) == (200, "ok")


def test_panel_serve_alone_serves_the_page(
    broker: services.Valkey, database_file: Path, visit: Callable[..., Page]
) -> None:
    port = services.free_port()
    environment = {
        **os.environ,
        "OPSDASH_AUTH": "dev",
        "OPSDASH_REDIS_URL": broker.url,
        "OPSDASH_DATABASE_URL": f"sqlite:///{database_file}",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "panel", "serve", str(ROOT / "apps" / "operations.py"), "--port", str(port)]
    command += ["--address", "127.0.0.1", "--allow-websocket-origin", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}/operations"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert services.until(lambda: answers(port) or process.poll() is not None, timeout_s=30)
            page = visit(url)
            expect(page.get_by_text("Processing Status: RUNNING")).to_be_visible()
            expect(page.get_by_text("development mode")).to_be_visible()
            page.close()  # before its server goes: what it would ask for then is no fault of the page
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
