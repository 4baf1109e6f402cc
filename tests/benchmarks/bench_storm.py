"""50,000 tasks that fail, as many a second as one worker ends: with the plug-in that keeps failures, and without it.

As in ``failures`` the worker logs nothing, which would take most of a failure's time. Meanwhile a console reads, once a
second, all that its page shows from the broker of the worker with the plug-in, whichever worker has its storm: both
sides share the machine with it. Each storm has tasks of its own, so that the store fills as it would.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench_failures import KEPT, STOCK, WAYS, store_bytes
from stage import client, cpu_s, let_go, prepared, server
from support.sample_app import STARTED
from support.services import until
from support.workers import worker

import opsdash
from opsdash.errors import OpsdashError
from opsdash.services.console import Console

POOLS = ("prefork", "threads")
ROUNDS, NUMBER, WARM_UP = 3, 50_000, 2_000
EVERY_S = 1.0
STORM_S = 600


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Failures a second by the clock and by the processor, what of them is kept, and a console's readings meanwhile."""
    pools, rounds, number = (POOLS[:1], 2, 5_000) if quick else (POOLS, ROUNDS, NUMBER)
    figures: dict[str, list[float]] = {}
    pairs: dict[str, tuple[str, str]] = {}
    units: dict[str, str] = {}
    for pool in pools:
        for name, unit, value in storms(pool, rounds, number):
            figures.setdefault(name, []).append(value)
            units[name] = unit
        for by in ("", ", per processor second"):
            pairs[f"{pool}: {KEPT} / stock{by}"] = (f"{pool}: {KEPT}{by}", f"{pool}: {STOCK}{by}")
    return figures, pairs, units


def storms(pool: str, rounds: int, number: int) -> Iterator[tuple[str, str, float]]:
    """One worker of each way, and their storms by turns."""
    with contextlib.ExitStack() as stack:
        brokers, pids = {}, {}
        for way in (KEPT, STOCK):
            broker = stack.enter_context(server())
            brokers[way] = broker, stack.enter_context(client(broker))
            settings = {"OPSDASH_REDIS_URL": broker.url, **WAYS[way]}
            quiet = ["-l", "CRITICAL"]
            running = stack.enter_context(worker(pool=pool, concurrency=2, env=settings, arguments=quiet, wait=False))
            pids[way] = running.pid
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = f"sqlite:///{home / 'opsdash.sqlite3'}"
        url, store = brokers[KEPT][0].url, brokers[KEPT][1]
        console = stack.enter_context(
            contextlib.closing(opsdash.connect(redis_url=url, database_url=database, queues=("celery",)))
        )
        for way in brokers:
            storm(brokers[way], pids[way], WARM_UP, first=0)
        for at in range(rounds):
            for way in random.sample(list(brokers), len(brokers)):
                before = counts(console)
                with Watch(console) as watch:
                    took_s, spent_s = storm(brokers[way], pids[way], number, first=WARM_UP + at * number)
                yield f"{pool}: {way}", "1/s", number / took_s
                yield f"{pool}: {way}, per processor second", "1/s", number / max(0.01, spent_s)
                if way == STOCK:
                    continue
                yield f"{pool}: the console's longest reading", "ms", max(watch.readings_s) * 1e3
                yield f"{pool}: longest time without one", "s", watch.longest_s
                if not until(lambda before=before: counts(console)[0] - before[0] == number, timeout_s=30):
                    raise RuntimeError(f"{counts(console)[0] - before[0]:,} of {number:,} failures were counted")
                yield f"{pool}: counted and not kept", "", counts(console)[1] - before[1]
                yield f"{pool}: memory of the store", "MB", store_bytes(store) / 1e6


def storm(broker: tuple, pid: int, number: int, *, first: int) -> tuple[float, float]:
    """Seconds from the moment all wait to the start of the task behind them, and those of the worker's processors."""
    made, store = broker
    store.delete(STARTED)
    prepared(made, store, number, "sample.fails", last="sample.short", first=first)
    spent_s, began = cpu_s(pid), store.time()
    let_go(store)
    if not until(lambda: store.llen(STARTED) > 0, timeout_s=STORM_S):
        raise RuntimeError("the last task did not start")
    ended = store.time()
    return (ended[0] - began[0]) + (ended[1] - began[1]) / 1e6, cpu_s(pid) - spent_s


def counts(console: Console) -> tuple[int, int]:
    """All failures so far, and those of them that were counted alone."""
    groups = console.failed.groups(task="sample.fails")
    return sum(group.count for group in groups), sum(group.not_kept for group in groups)


class Watch:
    """A console that looks, once a second, until its storm is over.

    Attributes:
        readings_s: How long each reading took: the snapshot, and the groups of failed tasks.
        longest_s: The longest time from the end of one to the end of the next.
    """

    def __init__(self, console: Console) -> None:
        self.readings_s: list[float] = []
        self.longest_s = 0.0
        self._problem = ""
        self._console, self._over = console, threading.Event()
        self._thread = threading.Thread(target=self._look, name="console")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._problem or not self.readings_s:
            raise RuntimeError(self._problem or "the console read nothing")

    def _look(self) -> None:
        last = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                self._problem = self._problem or self._console.snapshot().redis_error
                self._console.failed.overview()
            except OpsdashError as error:
                self._problem = str(error)
            now = time.monotonic()
            self.readings_s.append(now - began)
            self.longest_s, last = max(self.longest_s, now - last), now
            if self._over.wait(EVERY_S):
                return
