"""Resident memory of a worker, main process and children together: with the plug-in and without it, by turns."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from stage import client, family, let_go, prepared, server
from support.sample_app import STARTED
from support.services import until
from support.workers import worker

WARM = 200
SETTLE_S = 2.5  # a report has been pushed by then


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Megabytes, proportional set size: a page that parent and children share counts once."""
    figures: dict[str, list[float]] = {}
    for _ in range(1 if quick else 5):
        for pool in ("prefork", "threads"):
            found = {}
            for way, env in (("plug-in", {}), ("none", {"SAMPLE_PLUGIN": "no"})):
                found[way] = one(pool, env)
                figures.setdefault(f"{pool}: {way}", []).append(found[way])
            figures.setdefault(f"{pool}: added", []).append(found["plug-in"] - found["none"])
    return figures, {"prefork: plug-in / none": ("prefork: plug-in", "prefork: none")}, "MB"


def one(pool: str, env: dict[str, str]) -> float:
    """A worker that has run some tasks, at rest."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        store = stack.enter_context(client(broker))
        env = {"OPSDASH_REDIS_URL": broker.url, **env}
        running = stack.enter_context(worker(pool=pool, concurrency=2, env=env))
        prepared(broker, store, WARM, "sample.nothing", last="sample.short")
        let_go(store)
        if not until(lambda: store.llen(STARTED) > 0, timeout_s=60):
            raise RuntimeError("the tasks did not run")
        time.sleep(SETTLE_S)
        return sum(pss_mb(pid) for pid in family(running.pid))


def pss_mb(pid: int) -> float:
    """Proportional set size. Source: proc(5), smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6
