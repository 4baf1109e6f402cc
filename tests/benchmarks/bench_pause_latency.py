"""How long after a pause the last task still starts, and after a resume the first one.

Four real workers, one a pool, on an otherwise idle machine and with both cores overloaded. Beside it what people use
today, in turns: ``control.cancel_consumer`` and ``add_consumer`` for the queue. Then one worker of each green pool by
itself, since among others the fastest pool's start is the first one.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from stage import POOLS, server
from support.deployment import deploy
from support.sample_app import STARTED, make_app
from support.workers import GREEN, Records, eventually, worker

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.queues.read import Queues
from opsdash.services.workers.reports import Workers

BUSY = 4
"""Processes that do nothing but work, on two cores."""
BACKLOG = 800
TASK_S = 0.01
FLOOR_MS = 0.1  # a last start before the call, or within the clocks' noise of it
RUN_S, HOLD_S = 0.5, 1.2  # the hold is longer than the slower way's last start takes


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds."""
    rounds, busy_rounds, alone, every = (3, 2, 3, 1) if quick else (100, 100, 30, 10)
    figures: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(server())
        broker = connect(Settings.from_env({}, redis_url=running.url))
        stack.callback(broker.client.close)
        app = make_app(running.url)
        stack.callback(app.close)
        records = Records(running.url)
        stack.callback(records.close)
        for pool in POOLS:
            stack.enter_context(worker(pool=pool, concurrency=2, env={"OPSDASH_REDIS_URL": running.url}))
        workers, flags, queues = Workers(broker), PauseFlags(broker), Queues(broker)
        eventually(lambda: len(workers.read()) == len(POOLS), what="all workers report")
        ways: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "opsdash": (
                lambda: flags.pause(None, by="bench", reason="", ttl_s=600),
                lambda: flags.resume(None),
            ),
            "cancel_consumer": (
                lambda: app.control.cancel_consumer("celery"),
                lambda: app.control.add_consumer("celery"),
            ),
        }

        def take(name: str, load: str) -> None:
            stop, go = ways[name]
            last_ms, first_ms = one_round(stop, go, app, records)
            figures.setdefault(f"{name}, {load}: pause to last start", []).append(last_ms)
            figures.setdefault(f"{name}, {load}: resume to first start", []).append(first_ms)
            queues.clear("celery", by="bench", keep_s=0)
            go()

        for at in range(rounds):
            take("opsdash", "idle")
            if at % every == 0:
                take("cancel_consumer", "idle")
        burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
        try:
            for _ in range(busy_rounds):
                take("opsdash", "busy")
        finally:
            for process in burning:
                process.kill()
                process.wait()
    for pool in GREEN:
        for acknowledged_ms, first_ms in green_rounds(pool, alone):
            figures.setdefault(f"{pool} alone: pause to acknowledgement", []).append(acknowledged_ms)
            figures.setdefault(f"{pool} alone: resume to first start", []).append(first_ms)
    return figures, {}, "ms"


def green_rounds(pool: str, rounds: int) -> Iterator[tuple[float, float]]:
    """An idle worker is paused and resumed, anywhere in the two seconds its loop sleeps by itself; milliseconds."""
    with server() as broker, deploy(broker) as made, worker(pool=pool, concurrency=2, env=made.env) as running:
        for _ in range(rounds):
            time.sleep(random.uniform(0.0, 2.0))
            called = time.time()
            made.pause()
            made.wait_until_confirmed(running.hostname)
            acknowledged_ms = (time.time() - called) * 1_000
            made.records.redis.delete(STARTED)
            made.send(1)
            time.sleep(random.uniform(1.2, 3.2))  # beyond the last fetch's end
            if len(made.records):
                raise RuntimeError("a task ran although paused")
            called = time.time()
            made.resume()
            made.records.wait_for(1)
            yield acknowledged_ms, (made.records.starts()[0].at - called) * 1_000


def one_round(stop: Callable[[], Any], go: Callable[[], Any], app: Any, records: Records) -> tuple[float, float]:
    """Holds, fills the queue, lets it run, holds again; the two latencies in milliseconds."""
    stop()
    time.sleep(HOLD_S)
    records.redis.delete(STARTED)
    for _ in range(BACKLOG):
        app.send_task("sample.short", ["bench", TASK_S])
    resumed = time.time()
    go()
    records.wait_for(1)
    time.sleep(RUN_S)
    called = time.time()
    stop()
    time.sleep(HOLD_S)
    starts = [start.at for start in records.starts()]
    if not starts or len(starts) == BACKLOG:
        raise RuntimeError(f"{len(starts)} of {BACKLOG} tasks ran: the pause was not in their middle")
    return max(FLOOR_MS, (max(starts) - called) * 1_000), (min(starts) - resumed) * 1_000
