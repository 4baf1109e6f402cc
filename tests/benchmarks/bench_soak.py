"""Twenty thousand tasks, early and late acknowledgement, 25 pauses, workers killed with -9 while they are paused.

A third of the tasks go to a topic exchange that two queues are bound to: each of those must run twice, once a queue.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import Any

from stage import POOLS, client, server
from support.sample_app import ORDERS, make_app
from support.workers import Records, Worker, eventually, worker

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.workers.reports import Workers

TASKS, PAUSES, KILLED_AFTER_S, LATE_S = 20_000, 25, 0.3, 0.1


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Tasks per soak."""
    figures: dict[str, list[float]] = {}
    for _ in range(1 if quick else 5):
        for what, number in soak(*((1_500, 4) if quick else (TASKS, PAUSES))).items():
            figures.setdefault(what, []).append(number)
    return figures, {}, "tasks"


def soak(tasks: int, pauses: int) -> dict[str, float]:
    """One soak on four workers, one a pool."""
    held: list[tuple[float, float, float]] = []  # paused, the whole fleet has confirmed, resumed
    kills = 0
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        store = stack.enter_context(client(broker))
        seen = connect(Settings.from_env({}, redis_url=broker.url))
        stack.callback(seen.client.close)
        flags, workers = PauseFlags(seen), Workers(seen)
        records = stack.enter_context(contextlib.closing(Records(broker.url)))
        app = stack.enter_context(contextlib.closing(make_app(broker.url)))
        fleet = {pool: begin(pool, broker.url) for pool in POOLS}
        stack.callback(lambda: [scope.close() for scope, _ in fleet.values()])
        flags.pause(None, by="bench", reason="", ttl_s=6_000)
        expected: dict[str, int] = {}
        with app.connection_for_write() as connection:
            for at in range(tasks):
                name = "sample.late" if at % 2 else "sample.short"
                topic = {"exchange": "orders", "routing_key": "order.new", "declare": [ORDERS]} if at % 3 == 0 else {}
                sent = app.send_task(name, [at, 0.002], connection=connection, **topic)
                expected[sent.id] = 2 if topic else 1
        flags.resume(None)
        runs = sum(expected.values())
        step = runs // (pauses + 1)
        for number in range(pauses):
            records.wait_for(min(runs - 1, (number + 1) * step), timeout_s=300)
            paused = time.time()
            epoch = flags.pause(None, by="bench", reason="", ttl_s=6_000).epoch
            names = {running.hostname for _, running in fleet.values()}
            eventually(lambda epoch=epoch, names=names: confirmed(workers, names, epoch), what="all confirm")
            acknowledged = time.time()
            time.sleep(KILLED_AFTER_S)
            pool = random.choice(POOLS)
            fleet[pool][1].kill()
            kills += 1
            fleet[pool][0].close()
            fleet[pool] = begin(pool, broker.url)
            held.append((paused, acknowledged, time.time()))
            flags.resume(None)
        queues = ("celery", "billing", "stock")
        left = lambda: store.hlen("unacked") + sum(store.llen(queue) for queue in queues)  # noqa: E731
        eventually(lambda: left() == 0, timeout_s=300, what="all done")
        records.stay(2.0)
        starts = records.starts()
        times = records.times_run()
    return {
        "lost": sum(max(0, number - times[sent]) for sent, number in expected.items()),
        "run once too often": sum(max(0, times[sent] - number) for sent, number in expected.items()),
        "started after the fleet's acknowledgement": sum(
            any(acknowledged < start.at < resumed for _, acknowledged, resumed in held) for start in starts
        ),
        "started > 100 ms after a pause": sum(
            any(paused + LATE_S < start.at < resumed for paused, _, resumed in held) for start in starts
        ),
        "pauses": len(held),
        "kills": kills,
        "tasks": len(starts),
    }


def begin(pool: str, url: str) -> tuple[contextlib.ExitStack, Worker]:
    """A worker and what ends it."""
    scope = contextlib.ExitStack()
    return scope, scope.enter_context(
        worker(pool=pool, concurrency=2, env={"OPSDASH_REDIS_URL": url, "SAMPLE_TOPICS": "yes"})
    )


def confirmed(workers: Workers, names: set[str], epoch: Any) -> bool:
    """Every worker that lives has written down this epoch."""
    epochs = {worker.hostname: worker.epoch for worker in workers.read()}
    return all(epochs.get(name) == epoch for name in names)
