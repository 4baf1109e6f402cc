"""The page as an operator meets it: the real server in a thread, a real browser, and nothing off this machine."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from support import services
from tornado.ioloop import IOLoop

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.console import Console
from opsdash.web.server import create_server

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SECRET_KEY = "a-key-for-tests-and-nothing-else"
WAIT_MS = 15_000
"""For anything to come: several tests at once on two cores are slow now and then, and no page is measured here."""
expect.set_options(timeout=WAIT_MS)


class Served:
    """The page's server in a thread of its own; it can go away and come back on its port.

    Attributes:
        console: What it serves.
        url: The page.
    """

    def __init__(self, console: Console, **options: Any) -> None:
        self.console = console
        self.port = services.free_port()
        self._options = options
        self._loop: IOLoop | None = None
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._options.get('prefix', '')}"

    @property
    def url(self) -> str:
        return f"{self.root}/operations"

    def start(self) -> None:
        """Listens again, with no session of before."""
        listening = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(asyncio.new_event_loop())
            self._loop = IOLoop.current()
            server = create_server(self.console, port=self.port, **self._options)
            server.start()
            self._loop.add_callback(listening.set)
            self._loop.start()
            server.stop()
            self._loop.close(all_fds=True)

        self._thread = threading.Thread(target=run, name="page-server", daemon=True)
        self._thread.start()
        assert listening.wait(20), "the page's server did not start"

    def stop(self) -> None:
        """Gone, as after a crash: browsers find a closed port."""
        if self._loop is None or self._thread is None:
            return
        self._loop.add_callback(self._loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the page's server did not stop"
        self._loop = None


class Watch:
    """What a test must not see: page errors, console errors, requests off this machine.

    Attributes:
        tolerate: Parts of console messages that a test brings about on purpose, such as a server that went away.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.tolerate: tuple[str, ...] = ()

    def follow(self, page: Page) -> Page:
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error.stack}"))
        page.on("console", self._console)
        page.on("request", self._request)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console error: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.faults.append(f"request off this machine: {request.url}")

    def check(self) -> None:
        """Fails the test for whatever was seen and is not tolerated."""
        unexpected = [fault for fault in self.faults if not any(part in fault for part in self.tolerate)]
        assert not unexpected, "\n".join(unexpected)


@pytest.fixture(scope="module")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """One real browser per module: a longer-lived one would keep an event loop running under every later test."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """The faults of every page of a test; checked at its end."""
    watching = Watch()
    yield watching
    watching.check()


@pytest.fixture(scope="module")
def everyday(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has been here before: its cache is warm."""
    context = browser.new_context(viewport=DESKTOP, accept_downloads=True)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def visit(browser: Browser, everyday: BrowserContext, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens an address and waits for a text. ``apart=True``: another operator, another machine."""
    opened: list[Page | BrowserContext] = []

    def open_page(
        url: str, ready: str | re.Pattern[str] = "Processing Status: ", *, apart: bool = False, **options: Any
    ) -> Page:
        context = everyday
        if apart or options:
            context = browser.new_context(viewport=DESKTOP, **options)  # type: ignore[arg-type]
            context.set_default_timeout(WAIT_MS)
            opened.append(context)
        page = watch.follow(context.new_page())
        opened.insert(0, page)
        page.goto(url)
        page.locator("#reading").wait_for(state="detached")  # the words that the page comes with
        page.get_by_text(ready).first.wait_for()
        return page

    yield open_page
    for thing in opened:
        thing.close()


@pytest.fixture(scope="module")
def broker(_valkey_server: services.Valkey) -> services.Valkey:
    """A real, empty broker that one module keeps."""
    _valkey_server.restore()
    _valkey_server.flush()
    return _valkey_server


@pytest.fixture
def store(broker: services.Valkey) -> Iterator[redis.Redis]:
    """A client of that broker, which is empty again after the test."""
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        yield client
        client.flushall()


@pytest.fixture(scope="module")
def database_file(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that one module keeps."""
    return Path(shutil.copy(_sqlite_template, tmp_path_factory.mktemp("page") / "opsdash.sqlite3"))


@pytest.fixture(scope="module")
def serve_page(broker: services.Valkey, database_file: Path) -> Iterator[Callable[..., Served]]:
    """Serves the page with settings of one's own; everything is stopped at the end of the module."""
    running: list[Served] = []

    def start(options: dict[str, Any] | None = None, **over: Any) -> Served:
        settings = Settings.from_env(
            {},
            **{
                "redis_url": broker.url,
                "database_url": f"sqlite:///{database_file}",
                "auth": "dev",
                "secret_key": SECRET_KEY,
                "environment": "staging",
                "queues": ("celery", "emails", "reports"),
                "poll_interval_s": 0.5,
                "tenant_columns": (("name", "name"),),  # whoever says where tenants are has them on the page
                **over,
            },
        )
        served = Served(assemble(settings), **(options or {}))
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()
        served.console.close()


@pytest.fixture(scope="module")
def served(serve_page: Callable[..., Served]) -> Served:
    """The page of one deployment, shared by a module."""
    return serve_page()


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a picture of a page in ``tests/artifacts``: light and dark, desktop and phone, to be looked at.

    All forms only where slow tests run too: they take three seconds.
    """

    def take(page: Page, name: str, *, all_forms: bool = False) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{name}.png", animations="disabled")
        if not all_forms or "not slow" in request.config.getoption("markexpr"):
            return  # the run that has no seconds to spare
        toggle = page.get_by_role("button", name="Toggle theme")
        for theme in ("light", "dark"):
            for form, size in (("", DESKTOP), ("_phone", PHONE)):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                page.wait_for_function("width => window.innerWidth === width", arg=size["width"])
                page.screenshot(path=ARTIFACTS / f"{name}_{theme}{form}.png", animations="disabled")
            page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
            toggle.click()
            page.wait_for_timeout(300)  # every component takes its colours in its own time

    return take
