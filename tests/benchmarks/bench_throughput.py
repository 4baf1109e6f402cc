"""Tasks a second: with the plug-in, without it, and with one EXISTS per task, on each pool, by turns."""

from __future__ import annotations

import contextlib
import random

from stage import POOLS, client, let_go, prepared, server
from support.sample_app import STARTED
from support.services import until
from support.workers import worker

WAYS = {
    "plug-in": {},
    "none": {"SAMPLE_PLUGIN": "no"},
    "EXISTS per task": {"SAMPLE_PLUGIN": "no", "SAMPLE_HOOK": "exists"},
}
TASKS = 2_000


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Tasks a second. The time runs from the moment all wait to the start of the one behind them."""
    rounds, tasks = (2, 500) if quick else (10, TASKS)
    figures: dict[str, list[float]] = {}
    pairs: dict[str, tuple[str, str]] = {}
    for pool in POOLS:
        with contextlib.ExitStack() as stack:
            stores = {}
            for way, env in WAYS.items():
                # A broker each: only the worker that is measured has anything to do.
                broker = stack.enter_context(server())
                stores[way] = (broker, stack.enter_context(client(broker)))
                stack.enter_context(worker(pool=pool, concurrency=2, env={"OPSDASH_REDIS_URL": broker.url, **env}))
            for at in range(rounds + 1):
                for way in random.sample(list(WAYS), len(WAYS)):
                    broker, store = stores[way]
                    store.delete(STARTED)
                    prepared(broker, store, tasks, "sample.nothing", last="sample.short")
                    began = store.time()
                    let_go(store)
                    if not until(lambda store=store: store.llen(STARTED) > 0, timeout_s=120):  # type: ignore[misc]
                        raise RuntimeError(f"{pool}, {way}: the last task did not start")
                    ended = store.time()
                    took_s = (ended[0] - began[0]) + (ended[1] - began[1]) / 1e6
                    if at:  # the first round warms up
                        figures.setdefault(f"{pool}: {way}", []).append(tasks / took_s)
        pairs[f"{pool}: plug-in / none"] = (f"{pool}: plug-in", f"{pool}: none")
        pairs[f"{pool}: EXISTS / none"] = (f"{pool}: EXISTS per task", f"{pool}: none")
    return figures, pairs, "1/s"
