"""The page in a browser: when it can be read and used, its bytes, what open pages cost the server."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis
from bench_browser_sessions import usable_flower, usable_opsdash
from bench_first_paint import MESSAGES, QUEUES, READABLE, WORKERS
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from stage import cpu_s
from support import services
from support.workers import eventually, worker

from .. import servers
from ..work import Bench, Contestant, Figure, Found, does_not, limit, own, rival, scratch, work

NAMES = ("celery", *(f"queue{number:02}" for number in range(1, QUEUES)))
PAGES, WATCHED_S = 8, 5.0
STATIC = """
import asyncio, sys, tornado.web
rows = "".join(f"<tr><td>queue{n:02}</td><td>50</td></tr>" for n in range(20))
class Answer(tornado.web.RequestHandler):
    def get(self):
        head = "<title>x</title><h1>Processing Status: Running</h1><button>Pause Processing</button>"
        self.write(f"{head}<table>{rows}</table>")
async def main():
    tornado.web.Application([("/", Answer)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Site:
    """A product's page: how its server is started, the text that first tells a state, and when it can be used."""

    serve: Callable[[], contextlib.AbstractContextManager[servers.Served]]
    text: str
    usable: Callable[[Page], Any]


def usable_table(page: Page) -> None:
    """A worker is listed."""
    page.locator("#workers tbody tr[data-role=worker]").first.wait_for()


def usable_panel(page: Page) -> None:
    """Both tables have rows, and the button is there."""
    page.get_by_role("button", name="Pause Processing").wait_for()
    page.get_by_text("online").first.wait_for()


def sites(bench: Bench) -> dict[str, Site]:
    """The same workers and queues behind all of them; RQ has as many of its own."""
    broker = bench.broker()
    with redis.Redis.from_url(broker.url) as store:
        for name in NAMES[1:]:
            store.rpush(name, *range(MESSAGES))
    for _ in range(WORKERS):
        bench.enter(worker(pool="threads", concurrency=4, env={"OPSDASH_REDIS_URL": broker.url}))
    rivals = bench.rivals

    @contextlib.contextmanager
    def own_page() -> Iterator[servers.Served]:
        with scratch() as home, servers.opsdash(broker.url, home, QUEUES=",".join(NAMES)) as running:
            yield running

    @contextlib.contextmanager
    def static() -> Iterator[servers.Served]:
        port = services.free_port()
        with servers.served([sys.executable, "-c", STATIC, str(port)], port, "/", "/") as running:
            yield running

    started: list[str] = []

    @contextlib.contextmanager
    def rq() -> Iterator[servers.Served]:
        if not started:
            apart = bench.broker()
            driver = bench.driver("rq", apart)
            driver.ask("fill_queues", QUEUES, MESSAGES)
            for at in range(WORKERS):
                bench.enter(servers.rq_worker(rivals, apart.url, f"w{at}"))
            eventually(lambda: driver.ask("workers")[1] == WORKERS, what="RQ's workers")
            started.append(apart.url)
        with servers.rq_dashboard(rivals, started[0]) as running:
            yield running

    return {
        "opsdash": Site(own_page, "Processing Status: ", usable_opsdash),
        "Flower": Site(lambda: servers.flower(rivals, broker.url), "Online", usable_flower),
        "rq-dashboard": Site(rq, "w0", usable_table),
        "Panel": Site(lambda: servers.panel(rivals, broker.url), "queue01", usable_panel),
        "static": Site(static, "Processing Status: ", lambda page: page.get_by_role("button").wait_for()),
    }


def browser(bench: Bench) -> Browser:
    """Chromium, the same for all."""
    playing = bench.enter(sync_playwright())
    made = playing.chromium.launch(executable_path=services.chromium(), args=["--no-sandbox"])
    bench.enter(contextlib.closing(made))
    return made


def opened(context: BrowserContext, site: Site, url: str) -> tuple[Page, Found]:
    """A page that is open, its bytes over the network, and milliseconds from the navigation."""
    page, received = context.new_page(), list[float]()
    page.add_init_script(READABLE.replace("'Processing Status: '", repr(site.text)))
    talk = context.new_cdp_session(page)
    talk.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    talk.send("Network.enable")
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    site.usable(page)
    usable_ms = (time.perf_counter() - began) * 1_000
    text_ms: Any = page.wait_for_function("window.readableMs").json_value()
    return page, {"text": float(text_ms), "usable": usable_ms, "bytes": sum(received) / 1_000}


def contestants(
    all_sites: dict[str, Site], once_of: Callable[[Site], Callable[[], Found]], *, static: bool
) -> list[Contestant]:
    """Each of the sites."""
    how = {"Flower": "its page of workers", "rq-dashboard": "its page of workers", "Panel": "two tables and a button"}
    found = [own("opsdash", "all of its overview", once_of(all_sites["opsdash"]))]
    found += [rival(name, text, lambda name=name: once_of(all_sites[name])) for name, text in how.items()]
    found += does_not("Celery", "RQ", "Dramatiq", "Taskiq", "Huey", why="no page")
    if static:
        found.append(limit("static HTML of the same words", once_of(all_sites["static"])))
    return found


@work(
    Figure("page-text", "the page, first visit: the state can be read", "ms"),
    Figure("page-usable", "its rows are there and its buttons work", "ms"),
    Figure("page-bytes", "its bytes", "kB"),
    Figure("page-usable-again", "usable, second visit of the same browser", "ms"),
    warm=True,
)
def page_start(bench: Bench) -> list[Contestant]:
    """The servers have run for some seconds; the browser was never there."""
    chromium = browser(bench)

    def once_of(site: Site) -> Callable[[], Found]:
        running = bench.enter(site.serve())
        time.sleep(5)  # two readings; Flower has asked the workers

        def once() -> Found:
            with contextlib.closing(chromium.new_context(viewport={"width": 1440, "height": 900})) as context:
                first, found = opened(context, site, running.url)
                first.close()
                again = opened(context, site, running.url)[1]
            names = {"text": "page-text", "usable": "page-usable", "bytes": "page-bytes"}
            return {names[name]: value for name, value in found.items()} | {"page-usable-again": again["usable"]}

        return once

    return contestants(sites(bench), once_of, static=True)


@work(
    Figure("page-memory", f"the server's memory for each page more, {PAGES} open", "MB"),
    Figure("pages-memory", f"the server's memory with {PAGES} open pages", "MB"),
    Figure("pages-processor", f"the server's processor with {PAGES} open pages", "% of a core"),
)
def pages_open(bench: Bench) -> list[Contestant]:
    """Each round has a server that has just started."""
    chromium, pages = browser(bench), bench.size(PAGES, 2)

    def once_of(site: Site) -> Callable[[], Found]:
        def once() -> Found:
            with contextlib.ExitStack() as stack:
                running = stack.enter_context(site.serve())
                time.sleep(3)  # its start is over: what it costs then is what is measured
                context = stack.enter_context(
                    contextlib.closing(chromium.new_context(viewport={"width": 1440, "height": 900}))
                )
                pid = running.process.pid
                opened(context, site, running.url)
                before_mb = servers.resident_mb(pid)
                for _ in range(pages - 1):
                    opened(context, site, running.url)
                time.sleep(1)  # the last page is drawn
                spent_s, began = cpu_s(pid), time.perf_counter()
                time.sleep(WATCHED_S)  # what is measured
                share = (cpu_s(pid) - spent_s) / (time.perf_counter() - began)
                after_mb = servers.resident_mb(pid)
            return {
                "page-memory": (after_mb - before_mb) / (pages - 1),
                "pages-memory": after_mb,
                "pages-processor": 100 * share,
            }

        return once

    return contestants(sites(bench), once_of, static=False)
