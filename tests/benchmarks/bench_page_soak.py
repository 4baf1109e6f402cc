"""Twenty pages that stay open: memory of the server, and of the pages' scripts, minute by minute.

Tasks flow all the while, and once a minute everything is paused and resumed. Each page shows another tab, with a
worker's row or the charts open. The first minutes, in which caches and histories fill, are left out.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench_browser_sessions import opsdash, resident_mb, usable_opsdash
from playwright.sync_api import CDPSession, sync_playwright
from stage import server
from support import services
from support.sample_app import make_app
from support.workers import worker

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.pause.flags import PauseFlags

PAGES, MINUTES, WARMING, COMPARED = 20, 30, 5, 5
MINUTE_S = 60.0
TABS = ("overview", "queues&queue=celery", "workers", "tenants", "operations", "failures")


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Megabytes. Ratios: the last minutes to the first ones after the warming up."""
    minutes, warming, compared, minute_s = (6, 2, 2, 10.0) if quick else (MINUTES, WARMING, COMPARED, MINUTE_S)
    resident: list[float] = []
    heap: list[float] = []
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        for pool in ("threads", "prefork"):
            stack.enter_context(worker(pool=pool, concurrency=4, env={"OPSDASH_REDIS_URL": broker.url}))
        stack.enter_context(traffic(broker))
        process, url, _ = stack.enter_context(opsdash(broker.url))
        chromium = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=services.chromium(), args=["--no-sandbox"]
        )
        stack.callback(chromium.close)
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        probes: list[CDPSession] = []
        for number in range(PAGES):
            page = context.new_page()
            page.goto(f"{url}?tab={TABS[number % len(TABS)]}")
            page.get_by_role("tab").first.wait_for()
            if number % len(TABS) == 0:
                usable_opsdash(page)
            probes.append(context.new_cdp_session(page))
        for _ in range(minutes):
            time.sleep(minute_s)
            resident.append(resident_mb(process))
            heap.append(sum(used_mb(probe) for probe in probes) / PAGES)
    figures = {}
    for what, values in (("server", resident), ("scripts of a page", heap)):
        figures[f"{what}, first minutes"] = values[warming : warming + compared]
        figures[f"{what}, last minutes"] = values[-compared:]
    pairs = {what: (f"{what}, last minutes", f"{what}, first minutes") for what in ("server", "scripts of a page")}
    return figures, pairs, "MB"


def used_mb(probe: CDPSession) -> float:
    """What a page's scripts hold on to, after a garbage collection."""
    probe.send("HeapProfiler.collectGarbage")
    probe.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in probe.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 1e6


@contextlib.contextmanager
def traffic(broker: Any) -> Iterator[None]:
    """Five tasks a second, and a pause of five seconds each minute."""
    done = threading.Event()

    def flow() -> None:
        app, console = make_app(broker.url), connect(Settings.from_env({}, redis_url=broker.url))
        flags = PauseFlags(console)
        for tick in itertools.count():
            app.send_task("sample.short")
            if tick % 300 == 200:
                flags.pause(None, by="soak", reason="every minute", ttl_s=600)
            if tick % 300 == 225:
                flags.resume(None)
            if done.wait(0.2):
                break
        app.close()
        console.client.close()

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
