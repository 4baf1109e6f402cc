"""What a page costs: nothing waits on the event loop, and a page and its updates are small."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support import services
from support.dialogs import PROCESSING, confirm_button

STALL_S = 0.05
TRIES = 4
"""A loop that waits on Redis stalls every time; a busy machine now and then."""


async def _watch(found: list[float], done: threading.Event) -> None:
    while not done.is_set():
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        found[0] = max(found[0], time.perf_counter() - before - 0.005)


@contextmanager
def longest_stall(served: Any) -> Iterator[list[float]]:
    """Holds, at the end, for how long the event loop was not to be had at most, in seconds.

    What the machine itself took away is not counted: an idle loop beside it in this process tells that.
    """
    found, beside, done = [0.0], [0.0], threading.Event()
    served._loop.add_callback(_watch, found, done)
    idle = threading.Thread(target=lambda: asyncio.run(_watch(beside, done)))
    idle.start()
    yield found
    done.set()
    idle.join()
    found[0] -= beside[0]


@pytest.mark.slow
def test_while_redis_is_slow_the_event_loop_never_waits_for_it(
    serve_page: Callable[..., Any], broker: services.Valkey, visit: Callable[..., Page]
) -> None:
    served = serve_page()
    page = visit(f"{served.url}?tab=queues")
    expect(page.locator("canvas").first).to_be_visible()
    stalls = []
    for _ in range(TRIES):
        with redis.Redis.from_url(broker.url) as client, longest_stall(served) as stall:
            client.execute_command("CLIENT", "PAUSE", 700, "ALL")
            page.get_by_role("tab", name="Workers").click()
            page.get_by_role("button", name="Refresh", exact=True).click()
            page.get_by_role("tab", name="Tenants").click()
            page.get_by_role("button", name="Compare now").click()
            page.get_by_role("tab", name="Operations").click()
            page.get_by_role("tab", name="Queues").click()
            page.get_by_role("button", name="Peek emails").click()
            expect(page.get_by_role("dialog").first).to_be_visible()
            page.wait_for_timeout(900)
            while page.get_by_role("dialog").count():
                page.keyboard.press("Escape")
                page.wait_for_timeout(100)
        stalls.append(stall[0])
    assert min(stalls) < STALL_S, [f"{stall * 1000:.0f} ms" for stall in stalls]


@pytest.mark.slow
def test_an_answer_comes_while_one_still_feels_it(served: Any, visit: Callable[..., Page]) -> None:
    page = visit(served.url)
    opened, seen = [], []
    clock = """([button, word]) => new Promise((done) => {
        const all = (root) => [...root.querySelectorAll('*')].flatMap(
            (n) => [n, ...(n.shadowRoot ? all(n.shadowRoot) : [])])
        const is = (n) => word ? n.matches('.state strong') && n.textContent.includes(word) : n.matches('dialog[open]')
        const began = performance.now()
        const look = () => all(document).some(is) ? done(performance.now() - began) : setTimeout(look, 2)
        button.click()
        look()
    })"""
    # Without a worker it is not RUNNING afterwards.
    for name, word in [("Pause Processing", "PAUSED"), ("Resume Processing", "DEGRADED")] * 3:
        button = page.get_by_role("button", name=name, exact=True)
        expect(button).to_be_enabled()
        opened.append(page.evaluate(clock, [button.element_handle(), ""]))
        page.get_by_label("Type YES to confirm").fill("YES")
        confirm = confirm_button(page)
        expect(confirm).to_be_enabled()
        seen.append(page.evaluate(clock, [confirm.element_handle(), word]))
    # The machine that runs tests is busy: the bounds are those of the design with room for that; figures are printed.
    print(f"click to dialog {statistics.median(opened):.0f} ms, confirm to result {statistics.median(seen):.0f} ms")
    assert min(opened) < 150
    assert min(seen) < 300


@pytest.mark.slow
def test_a_page_is_small_and_an_update_is_smaller(served: Any, visit: Callable[..., Page]) -> None:
    frames: list[int] = []
    page = visit(served.url)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(len(data))))
    page.reload()
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    page.wait_for_timeout(1_000)
    whole = sum(frames)
    assert whole < 300_000
    frames.clear()
    page.wait_for_timeout(2_000)
    assert 0 < sum(frames) < 20_000, json.dumps(frames)
