"""Tasks a second: with the plug-in, without it, and with one EXISTS per task, on each pool, by turns.

Beside the time on the wall, the processor time of the worker and its children: what else the machine does disturbs that
far less, and a cost per task must show there. Each worker is started anew every few rounds: where its memory happens to
lie makes one process a few hundredths faster than its twin for as long as it lives.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from stage import POOLS, client, server, throughput
from support.workers import worker

WAYS = {
    "plug-in": {},
    "none": {"SAMPLE_PLUGIN": "no"},
    "EXISTS per task": {"SAMPLE_PLUGIN": "no", "SAMPLE_HOOK": "exists"},
}
STARTS, ROUNDS, TASKS = 7, 3, 3_000


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Tasks a second. The time runs from the moment all wait to the start of the one behind them."""
    starts, rounds, tasks = (1, 2, 500) if quick else (STARTS, ROUNDS, TASKS)
    figures: dict[str, list[float]] = {}
    pairs: dict[str, tuple[str, str]] = {}
    for pool in POOLS:
        for _ in range(starts):
            for way, per_s, per_processor_s in rounds_of(pool, rounds, tasks):
                figures.setdefault(f"{pool}: {way}", []).append(per_s)
                figures.setdefault(f"{pool}: {way}, per processor second", []).append(per_processor_s)
        for unit in ("", ", per processor second"):
            pairs[f"{pool}: plug-in / none{unit}"] = (f"{pool}: plug-in{unit}", f"{pool}: none{unit}")
            pairs[f"{pool}: EXISTS / none{unit}"] = (f"{pool}: EXISTS per task{unit}", f"{pool}: none{unit}")
    return figures, pairs, "1/s"


def rounds_of(pool: str, rounds: int, tasks: int) -> Iterator[tuple[str, float, float]]:
    """New workers of each way, and how fast each is in each round."""
    with contextlib.ExitStack() as stack:
        stores, pids = {}, {}
        for way, env in WAYS.items():
            # A broker each: only the worker that is measured has anything to do.
            broker = stack.enter_context(server())
            stores[way] = (broker, stack.enter_context(client(broker)))
            running = stack.enter_context(
                worker(pool=pool, concurrency=2, env={"OPSDASH_REDIS_URL": broker.url, **env})
            )
            pids[way] = running.pid
        for at in range(rounds + 1):
            for way in random.sample(list(WAYS), len(WAYS)):
                per_s, per_processor_s = throughput(*stores[way], pids[way], tasks)
                if at:  # the first round warms up
                    yield way, per_s, per_processor_s
