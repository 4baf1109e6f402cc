"""A first look at the page: bytes, time until the state can be read and until it can be operated. Two builds, by turns.

The control is a checkout of another build: ``run.py first-paint --control PATH``. Both serve the same broker and the
same workers with the same Python. Without a control this build is measured alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from bench_browser_sessions import running, usable_opsdash
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from stage import server
from support import services
from support.workers import worker

HERE = Path(__file__).parents[2]
WORKERS, QUEUES, MESSAGES = 3, 20, 50
SLOW = {"offline": False, "latency": 40, "downloadThroughput": 20e6 / 8, "uploadThroughput": 20e6 / 8}
"""20 Mbit/s, 40 ms."""
READABLE = """
(() => {
  // In the document or in a component, however the build draws it; what is hidden is not read.
  const texts = (root) => [...root.querySelectorAll('*')].some((node) =>
    (node.shadowRoot && texts(node.shadowRoot)) ||
    ([...node.childNodes].some((child) => child.nodeType === 3 && child.data.includes('Processing Status: ')) &&
      node.checkVisibility({opacityProperty: true, visibilityProperty: true})))
  const look = () => {
    if (document.body && texts(document.body)) requestAnimationFrame(() => { window.readableMs = performance.now() })
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})()
"""


def measure(
    *, quick: bool, control: Path | None = None
) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Rounds of both, one after the other; each begins another round."""
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
        urls = {
            name: stack.enter_context(served(tree.resolve(), broker.url, ",".join(names)))
            for name, tree in builds.items()
        }
        chromium = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=services.chromium(), args=["--no-sandbox"]
        )
        stack.callback(chromium.close)
        for url in urls.values():  # the first visit of a process loads modules
            one(chromium, url)
        for number in range(2 if quick else 11):
            for name, url in sorted(urls.items(), reverse=bool(number % 2)):
                for what, value in one(chromium, url).items():
                    figures.setdefault(f"{name}: {what}", []).append(value)
    units = {what: what.rpartition(", ")[2] for what in figures}
    kinds = {what.partition(": ")[2] for what in figures} if control else set()
    pairs = {f"{what}, this to control": (f"this build: {what}", f"control: {what}") for what in sorted(kinds)}
    return figures, pairs, units


def one(browser: Browser, url: str) -> dict[str, float]:
    """One round with one build: a browser that was never here, the same again, and one at the end of a slow line."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    cold, warm = opened(context, url), opened(context, url)
    context.close()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    far = opened(context, url, slow=True)
    context.close()
    return {
        "bytes, cold, kB": cold["bytes"] / 1000,
        "bytes, warm, kB": warm["bytes"] / 1000,
        "state readable, cold, s": cold["readable"],
        "state readable, warm, s": warm["readable"],
        "usable, cold, s": cold["usable"],
        "usable, warm, s": warm["usable"],
        "state readable, cold at 20 Mbit/s and 40 ms, s": far["readable"],
        "usable, cold at 20 Mbit/s and 40 ms, s": far["usable"],
    }


def opened(context: BrowserContext, url: str, *, slow: bool = False) -> dict[str, float]:
    """Opens the page and closes it again: bytes over the network, and seconds from the navigation."""
    page, received = context.new_page(), list[float]()
    page.add_init_script(READABLE)
    talk = context.new_cdp_session(page)
    talk.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    talk.send("Network.enable")
    if slow:
        talk.send("Network.emulateNetworkConditions", SLOW)
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    usable_opsdash(page)
    usable_s = time.perf_counter() - began
    readable_ms: Any = page.wait_for_function("window.readableMs").json_value()
    page.close()
    return {"bytes": sum(received), "readable": readable_ms / 1000, "usable": usable_s}


@contextlib.contextmanager
def served(tree: Path, broker_url: str, queues: str) -> Iterator[str]:
    """The address of a build's page."""
    with server_of(tree, broker_url, queues) as (_, url):
        yield url


@contextlib.contextmanager
def server_of(tree: Path, broker_url: str, queues: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A build's server and the address of its page, looking every two seconds, with a log of its own."""
    with tempfile.TemporaryDirectory() as home:
        over = {
            "REDIS_URL": broker_url,
            "DATABASE_URL": f"sqlite:///{Path(home) / 'bench.sqlite3'}",
            "AUTH": "dev",
            "QUEUES": queues,
            "PAGE_OPENS_PER_MINUTE": "100000",
            "MAX_PAGES_EACH": "100",
        }
        environment = {**os.environ, **{f"OPSDASH_{name}": value for name, value in over.items()}}
        environment["PYTHONPATH"] = str(tree)
        opsdash = [sys.executable, "-P", "-m", "opsdash"]  # -P: not what lies in the folder this runs in
        subprocess.run([*opsdash, "db", "upgrade"], env=environment, cwd=tree, check=True, capture_output=True)
        port = services.free_port()
        command = [*opsdash, "serve", "--port", str(port)]
        with running(command, environment, f"http://127.0.0.1:{port}/healthz") as process:
            # Two readings, so that it is like one that has run for long; the control has no address that says so.
            time.sleep(4)
            yield process, f"http://127.0.0.1:{port}/operations"
