"""Open pages: time until one is usable, bytes, and what twenty of them cost the server. opsdash and Flower, by turns.

Both serve the same broker and the same workers. Flower is in the extra `dev`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from stage import server
from support import services
from support.workers import worker

from opsdash.services.database import migrations

PAGES, WORKERS, WATCHED_S = 20, 3, 20.0


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Rounds of both, one after the other."""
    figures: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        for _ in range(WORKERS):
            stack.enter_context(worker(pool="threads", concurrency=4, env={"OPSDASH_REDIS_URL": broker.url}))
        chromium = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=services.chromium(), args=["--no-sandbox"]
        )
        stack.callback(chromium.close)
        for _ in range(1 if quick else 5):
            for name, serve in (("opsdash", opsdash), ("flower", flower)):
                with serve(broker.url) as (process, url, usable):
                    found = one(chromium, process, url, usable, WATCHED_S / (4 if quick else 1))
                for what, number in found.items():
                    figures.setdefault(f"{name}: {what}", []).append(number)
    units = {what: what.rpartition(", ")[2] for what in figures}
    shown = {what.removeprefix("opsdash: ").rpartition(", ")[0] for what in figures if what.startswith("opsdash")}
    pairs = {
        f"{what}, opsdash to flower": (f"opsdash: {what}, {unit}", f"flower: {what}, {unit}")
        for what in shown
        for unit in set(units.values())
        if f"opsdash: {what}, {unit}" in figures
    }
    return figures, pairs, units


def one(
    browser: Browser, process: subprocess.Popen[bytes], url: str, usable: Callable[[Page], Any], watched_s: float
) -> dict[str, float]:
    """One round with one server."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    cold_s, page = opened(context, url, usable)
    sizes = "performance.getEntriesByType('resource').reduce((sum, entry) => sum + entry.transferSize, 0)"
    kilobytes = page.evaluate(sizes) / 1000
    warm_s, _ = opened(context, url, usable)
    before_mb = resident_mb(process)
    pages = [opened(context, url, usable)[1] for _ in range(PAGES - 2)]
    time.sleep(2)
    busy_s, began = cpu_s(process), time.perf_counter()
    time.sleep(watched_s)
    share = (cpu_s(process) - busy_s) / (time.perf_counter() - began)
    grown_mb = resident_mb(process) - before_mb
    context.close()
    return {
        "cold start, s": cold_s,
        "warm start, s": warm_s,
        "bytes of a cold start, kB": kilobytes,
        "CPU at 20 open pages, % of a core": share * 100,
        "memory a page, MB": grown_mb / len(pages),
        "resident at 20 pages, MB": resident_mb(process),
    }


def opened(context: BrowserContext, url: str, usable: Callable[[Page], Any]) -> tuple[float, Page]:
    """A new page, and after how many seconds it shows a worker."""
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    usable(page)
    return time.perf_counter() - began, page


@contextlib.contextmanager
def opsdash(broker_url: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Callable[[Page], Any]]]:
    """The page, looking every second."""
    with tempfile.TemporaryDirectory() as home:
        database = f"sqlite:///{Path(home) / 'bench.sqlite3'}"
        migrations.upgrade(database)
        port = services.free_port()
        over = {"REDIS_URL": broker_url, "DATABASE_URL": database, "AUTH": "dev", "POLL_INTERVAL_S": "1"}
        environment = {**os.environ, **{f"OPSDASH_{name}": value for name, value in over.items()}}
        command = [sys.executable, "-m", "opsdash", "serve", "--port", str(port)]
        with running(command, environment, f"http://127.0.0.1:{port}/healthz") as process:
            yield process, f"http://127.0.0.1:{port}/operations", usable_opsdash


def usable_opsdash(page: Page) -> None:
    """Workers are listed and Pause can be pressed."""
    page.locator("section tbody tr", has_text="online").first.wait_for()
    page.get_by_role("button", name="Pause Processing", exact=True).and_(page.locator(":enabled")).wait_for()


@contextlib.contextmanager
def flower(broker_url: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Callable[[Page], Any]]]:
    """Flower's page of workers."""
    port = services.free_port()
    command = [
        sys.executable,
        "-m",
        "celery",
        f"--broker={broker_url}",
        "flower",
        f"--port={port}",
        "--address=127.0.0.1",
    ]
    with running(command, dict(os.environ), f"http://127.0.0.1:{port}/healthcheck") as process:
        time.sleep(6)  # it has asked the workers by then
        yield process, f"http://127.0.0.1:{port}/workers", usable_flower


def usable_flower(page: Page) -> None:
    """Workers are listed."""
    page.locator("#workers-table tbody tr", has_text="Online").first.wait_for()


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], answers: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the end of the block, once it answers."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert services.until(lambda: _answers(answers), timeout_s=60), f"{command[2]} did not start"
            yield process
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Processor time it has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Its resident memory."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
