"""Failed tasks a second, and successful ones: with the plug-in that keeps them, with none kept, and without it.

Beside the time on the wall, the processor time of the worker and its children, as in ``throughput``. A storm is one
error thousands of times, as when a service is gone; its log goes nowhere, since stock Celery spends most of a failure's
time on that, so the plug-in's share is the largest that it can be. Each worker is started anew every few rounds.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import redis
from stage import POOLS, client, cpu_s, let_go, prepared, server
from support.sample_app import STARTED
from support.services import until
from support.workers import worker

KEPT, NONE, STOCK = "kept", "switched off", "without the plug-in"
WAYS = {
    KEPT: {},
    NONE: {"OPSDASH_FAILED_MAX": "0"},
    STOCK: {"SAMPLE_PLUGIN": "no"},
}
TASKS = {"failing": "sample.fails", "successful": "sample.nothing"}
STARTS, ROUNDS, NUMBER = 5, 3, 3_000


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Tasks a second, from the moment all wait to the start of the one behind them; and the store's memory."""
    starts, rounds, number = (1, 2, 500) if quick else (STARTS, ROUNDS, NUMBER)
    figures: dict[str, list[float]] = {}
    pairs: dict[str, tuple[str, str]] = {}
    units: dict[str, str] = {}
    for pool in POOLS if not quick else POOLS[:2]:
        for kind, task in TASKS.items():
            for _ in range(starts):
                for name, unit, value in rounds_of(pool, kind, task, rounds, number):
                    figures.setdefault(name, []).append(value)
                    units[name] = unit
            for way in (KEPT, NONE):
                for by in ("", ", per processor second"):
                    of = f"{pool}, {kind}: "
                    pairs[f"{of}{way} / stock{by}"] = (f"{of}{way}{by}", f"{of}{STOCK}{by}")
    return figures, pairs, units


def rounds_of(pool: str, kind: str, task: str, rounds: int, number: int) -> Iterator[tuple[str, str, float]]:
    """New workers of each way, and how fast each is in each round."""
    with contextlib.ExitStack() as stack:
        stores, pids = {}, {}
        for way, env in WAYS.items():
            # A broker each: only the worker that is measured has anything to do.
            broker = stack.enter_context(server())
            stores[way] = (broker, stack.enter_context(client(broker)))
            settings = {"OPSDASH_REDIS_URL": broker.url, **env}
            running = stack.enter_context(
                worker(pool=pool, concurrency=2, env=settings, arguments=["-l", "CRITICAL"], wait=False)
            )
            pids[way] = running.pid
        for at in range(rounds + 1):
            for way in random.sample(list(WAYS), len(WAYS)):
                broker, store = stores[way]
                store.delete(STARTED)
                prepared(broker, store, number, task, last="sample.short")
                spent_s, began = cpu_s(pids[way]), store.time()
                let_go(store)
                if not until(lambda store=store: store.llen(STARTED) > 0, timeout_s=180):
                    raise RuntimeError(f"{pool}, {way}: the last task did not start")
                ended = store.time()
                took_s = (ended[0] - began[0]) + (ended[1] - began[1]) / 1e6
                if at:  # the first round warms up
                    yield f"{pool}, {kind}: {way}", "1/s", number / took_s
                    processor_s = cpu_s(pids[way]) - spent_s
                    yield f"{pool}, {kind}: {way}, per processor second", "1/s", number / max(0.01, processor_s)
        if kind == "failing":
            yield f"{pool}: memory of the store", "MB", store_bytes(stores[KEPT][1]) / 1e6


def store_bytes(store: redis.Redis) -> int:
    """What the failed tasks take of Redis's memory."""
    keys = list(store.scan_iter("opsdash:failed*", count=1_000))
    with store.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.memory_usage(key, samples=0)
        return sum(pipe.execute())
