"""How long after a pause the last task still starts, and after a resume the first one. Three real workers, one a pool.

Beside it what people use today, in turns: ``control.cancel_consumer`` and ``add_consumer`` for the queue.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from support import services
from support.sample_app import STARTED, make_app
from support.workers import Records, eventually, worker

from opsdash.services.broker import connect
from opsdash.services.pause import PauseFlags
from opsdash.services.queues import Queues
from opsdash.services.workers import Workers
from opsdash.settings import Settings

POOLS = ("prefork", "threads", "solo")
BACKLOG = 800
TASK_S = 0.01
FLOOR_MS = 0.1  # a last start before the call, or within the clocks' noise of it
RUN_S, HOLD_S = 0.5, 1.2  # the hold is longer than the slower way's last start takes


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds."""
    rounds = 3 if quick else 34  # 34 rounds of three pools: 102 pauses
    figures: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        server = services.Valkey(stack.enter_context(services.folder()))
        server.start()
        stack.callback(server.kill)
        broker = connect(Settings.from_env({}, redis_url=server.url))
        stack.callback(broker.client.close)
        app = make_app(server.url)
        stack.callback(app.close)
        records = Records(server.url)
        stack.callback(records.close)
        for pool in POOLS:
            stack.enter_context(worker(pool=pool, concurrency=2, env={"OPSDASH_REDIS_URL": server.url}))
        workers, flags, queues = Workers(broker), PauseFlags(broker), Queues(broker)
        eventually(lambda: len(workers.read()) == len(POOLS), what="three workers report")
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
        for _ in range(rounds):
            for name, (stop, go) in ways.items():
                last_ms, first_ms = one_round(stop, go, app, records)
                figures.setdefault(f"{name}: pause to last start", []).append(last_ms)
                figures.setdefault(f"{name}: resume to first start", []).append(first_ms)
                queues.clear("celery", by="bench", keep_s=0)
                go()
    pairs = {
        "last start, cancel_consumer / opsdash": (
            "cancel_consumer: pause to last start",
            "opsdash: pause to last start",
        )
    }
    return figures, pairs, "ms"


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
