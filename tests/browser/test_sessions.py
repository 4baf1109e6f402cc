"""A browser session costs something while it lasts, and nothing afterwards."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from bokeh.document import Document
from playwright.sync_api import Page, expect
from support import services
from support.dialogs import PROCESSING, act, button, confirm_button, waiting
from support.workers import eventually

from opsdash.state import PendingConfirmation
from opsdash.views.components import Messages
from opsdash.views.session import Session
from opsdash.views.view import View

COUNTED = (Document, Session, View, PendingConfirmation, Messages)


def alive() -> Counter[str]:
    """How many objects of a session's kinds there are."""
    gc.collect()
    kinds = Counter({kind.__name__: 0 for kind in COUNTED})
    for thing in gc.get_objects():
        for kind in COUNTED:
            if isinstance(thing, kind):
                kinds[kind.__name__] += 1
    return kinds


@pytest.mark.slow
def test_a_closed_session_leaves_nothing_behind_and_the_poller_rests(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    served = serve_page(options={"unused_session_ms": 1_000})
    # The first session of a process is kept by what it was the first to start: one, whatever comes after it.
    others = alive()["Session"]
    visit(served.url).close()
    eventually(lambda: alive()["Session"] <= others + 1, what="the first session's end", timeout_s=15)
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


@pytest.mark.long
def test_a_session_that_had_to_be_made_again_loads_nothing_from_elsewhere(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    # Thrown away before the browser's websocket comes: slow networks do that. `visit` watches what the page asks for.
    served = serve_page(options={"unused_session_ms": 100})
    page = visit(served.url)
    page.wait_for_timeout(300)


@pytest.mark.long
def test_a_refresh_and_an_operation_show_at_once_however_slowly_the_figures_are_read(
    serve_page: Callable[..., Any], broker: services.Valkey, visit: Callable[..., Page]
) -> None:
    served = serve_page(poll_interval_s=10.0)
    page = visit(served.url)
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    with redis.Redis.from_url(broker.url) as client:
        client.rpush("emails", *range(1_234))
    button(page, "Refresh").click()
    expect(waiting(page, "emails", "1,234")).to_be_visible(timeout=3_000)
    act(page, "emails", "Clear")
    page.get_by_label("Type YES to confirm").fill("YES")
    confirm_button(page).click()
    expect(waiting(page, "emails", "0")).to_be_visible(timeout=3_000)
    expect(page.get_by_role("cell", name="Cleared 1,234 tasks from emails.")).to_be_visible(timeout=3_000)


@pytest.mark.long
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


COUNTING = Path(__file__).parents[1] / "support" / "counted_serve.py"
MOST_MB = 30


class Process:
    """A server of its own, and what it holds."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        port = services.free_port()
        self.url = f"http://127.0.0.1:{port}/operations"
        self._counts = folder / "counts.json"
        command = [sys.executable, str(COUNTING), str(port), str(self._counts)]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == self.url
        self._empty = self.counts()["Document"]  # Bokeh keeps one of its own

    def counts(self) -> dict[str, int]:
        """How many Documents and Sessions live, after a full collection."""
        self._counts.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        eventually(self._counts.exists, what="the count", timeout_s=20)
        found: dict[str, int] = json.loads(self._counts.read_text())
        return found

    def memory_mb(self) -> float:
        """Resident memory once the sessions are gone; the last one is held until another comes, however many came."""

        def gone() -> bool:
            found = self.counts()
            return found["Session"] <= 1 and found["Document"] <= self._empty + 1

        eventually(gone, what="the sessions' end", timeout_s=40)
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)


@pytest.fixture
def process(broker: services.Valkey, database_file: Path, tmp_path: Path) -> Iterator[Process]:
    settings = {
        "OPSDASH_AUTH": "dev",
        "OPSDASH_REDIS_URL": broker.url,
        "OPSDASH_DATABASE_URL": f"sqlite:///{database_file}",
        "OPSDASH_PAGE_OPENS_PER_MINUTE": "100000",
    }
    made = Process({**os.environ, **settings}, tmp_path)
    yield made
    made.stop()


def fetch(url: str, times: int) -> None:
    for _ in range(times):
        with urllib.request.urlopen(url) as answer:
            answer.read()


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_hundreds_of_pages_leave_the_server_as_it_was(process: Process, visit: Callable[..., Page]) -> None:
    # The first pages load modules and fill caches that stay.
    fetch(process.url, 10)
    for _ in range(3):
        visit(process.url).close()
    before = process.memory_mb()
    fetch(process.url, 500)
    fetched = process.memory_mb()
    for _ in range(200):
        visit(process.url).close()
    visited = process.memory_mb()
    print(f"before {before:.1f} MB, after 500 GETs {fetched:.1f} MB, after 200 browsers {visited:.1f} MB")
    assert fetched - before <= MOST_MB
    assert visited - before <= MOST_MB
