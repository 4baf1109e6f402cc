"""What the page costs its server and its user: this build and another one, ``run.py page-shape --control PATH``.

Twenty pages, 20 queues, three workers, a reading every two seconds. The longest block is measured from outside: while a
page opens, another connection asks for ``/healthz`` again and again, and the longest answer counts. One that is asked
without a page opening is measured as well, so that a busy machine can be told from a busy server.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import redis
from bench_browser_sessions import cpu_s, resident_mb, usable_opsdash
from bench_first_paint import HERE, MESSAGES, QUEUES, WORKERS, server_of
from playwright.sync_api import Browser, Page, sync_playwright
from stage import server
from support import services
from support.workers import worker

PAGES, WATCHED_S, QUIET_S = 20, 20.0, 3.0


def measure(
    *, quick: bool, control: Path | None = None
) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Rounds of both, one after the other; each begins another round, with a server that has just started."""
    builds = {"this build": HERE, **({"control": control} if control else {})}
    figures: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        names = ["celery", *(f"queue{number:02}" for number in range(1, QUEUES))]
        with redis.Redis.from_url(broker.url) as store:
            for name in names[1:]:
                store.rpush(name, *range(MESSAGES))
        for _ in range(WORKERS):
            stack.enter_context(worker(pool="threads", concurrency=4, env={"OPSDASH_REDIS_URL": broker.url}))
        chromium = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=services.chromium(), args=["--no-sandbox"]
        )
        stack.callback(chromium.close)
        for number in range(1 if quick else 7):
            for name, tree in sorted(builds.items(), reverse=bool(number % 2)):
                for what, value in one(chromium, tree.resolve(), broker.url, ",".join(names), quick=quick).items():
                    figures.setdefault(f"{name}: {what}", []).append(value)
    units = {what: what.rpartition(", ")[2] for what in figures}
    kinds = {what.partition(": ")[2] for what in figures} if control else set()
    pairs = {f"{what}, this to control": (f"this build: {what}", f"control: {what}") for what in sorted(kinds)}
    return figures, pairs, units


def one(browser: Browser, tree: Path, broker_url: str, queues: str, *, quick: bool) -> dict[str, float]:
    """One round with one build."""
    with server_of(tree, broker_url, queues) as (process, url):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        opened(context.new_page(), url)  # the first visit of a process loads modules
        before_mb = resident_mb(process)
        pages, blocks = [], list[float]()
        for _ in range(PAGES - 1):
            with longest_answer_ms(url) as longest:
                pages.append(opened(context.new_page(), url))
            blocks.append(longest[0])
        with longest_answer_ms(url) as quiet:
            time.sleep(QUIET_S)
        grown_mb = resident_mb(process) - before_mb
        watched_s = WATCHED_S / (4 if quick else 1)
        busy_s, began = cpu_s(process), time.perf_counter()
        time.sleep(watched_s)
        share = (cpu_s(process) - busy_s) / (time.perf_counter() - began)
        clicks = [click_ms(page) for page in pages[:5]]
        context.close()
    return {
        "longest answer while a page opens, ms": sorted(blocks)[len(blocks) // 2],
        "longest answer while none opens, ms": quiet[0],
        "server at 20 pages, % of a core": share * 100,
        "memory a page, MB": grown_mb / len(pages),
        "click to dialog, ms": sorted(clicks)[len(clicks) // 2],
    }


def opened(page: Page, url: str) -> Page:
    """The page, once it is usable."""
    page.goto(url, wait_until="commit")
    usable_opsdash(page)
    return page


def click_ms(page: Page) -> float:
    """From the click on Pause until its dialog is there, by the browser's clock. The dialog is closed again."""
    page.bring_to_front()
    began = time.perf_counter()
    page.get_by_role("button", name="Pause Processing", exact=True).first.click()
    page.get_by_label("Type YES to confirm").wait_for()
    took_ms = (time.perf_counter() - began) * 1000
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    return took_ms


@contextlib.contextmanager
def longest_answer_ms(url: str) -> Iterator[list[float]]:
    """The longest answer of the server to a request that costs it nothing, until the end of the block."""
    address, longest, ended = urlsplit(url).netloc, [0.0], threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        while not ended.is_set():
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            longest[0] = max(longest[0], (time.perf_counter() - began) * 1000)
            ended.wait(0.005)
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield longest
    finally:
        ended.set()
        asking.join()
