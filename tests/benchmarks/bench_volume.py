"""Much of anything in Redis: how long a pause and a look take then, and how much the console grows by it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from stage import server
from support import services

from opsdash.services.database import migrations

DOES = """
import re, sys, time
import opsdash
from opsdash.errors import OpsdashError
url, database, what = sys.argv[1:]
ops = opsdash.connect(redis_url=url, database_url=database, queues=("celery",), secret_key="k" * 32)
def most_kb():  # of this program; getrusage would count the one that started it too
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
clear = opsdash.ClearTasks(queue="celery", containing="nothing of that")
acts = {
    "look": ops.snapshot,
    "pause": lambda: ops.run(opsdash.PauseProcessing(reason="x"), actor="maria", confirm="YES"),
    "preview": lambda: ops.preview(clear),
}
ops.broker.ping(); ops.get_recent_operations(); ops.broker.layout
before = most_kb()
started = time.perf_counter()
acts[what]()
took = time.perf_counter() - started
print(took * 1000, (most_kb() - before) / 1024, flush=True)
import os; os._exit(0)
"""
"""One act in a process of its own: what it took in ms, and by how many MB the process grew."""


def hashes(client: redis.Redis, key: str, number: int) -> None:
    for start in range(0, number, 10_000):
        client.hset(
            key, mapping={f"name-{n}": '{"by": "x", "at": "2026-01-01T00:00:00"}' for n in range(start, start + 10_000)}
        )


def reports(client: redis.Redis, number: int) -> None:
    now = time.time()
    report = {"time": now, "loop_tick": now, "pid": 1, "queues": '["celery"]', "pool": "solo"}
    for start in range(0, number, 5_000):
        with client.pipeline(transaction=False) as pipe:
            for n in range(start, min(number, start + 5_000)):
                pipe.zadd("opsdash:workers", {f"w{n}@x": now})
                pipe.hset(f"opsdash:worker:w{n}@x", mapping={**report, "hostname": f"w{n}@x"})
            pipe.execute()


def field(client: redis.Redis, size: int) -> None:
    now = time.time()
    client.zadd("opsdash:workers", {"w@x": now})
    client.hset("opsdash:worker:w@x", mapping={"time": now, "loop_tick": now, "queues": "x" * size})
    client.hset("opsdash:pause", "*", "x" * size)


def messages(client: redis.Redis, number: int, size: int) -> None:
    for n in range(number):
        body = json.dumps([["x" * size], {}, {}])
        client.rpush("celery", json.dumps({"body": body, "headers": {"task": "t", "id": str(n)}, "properties": {}}))


def floods(part: int) -> dict[str, Callable[[redis.Redis], None]]:
    """What it is → puts it there; a ``part`` of it."""
    return {
        f"{500_000 // part:,} pause stories": lambda client: hashes(client, "opsdash:pause", 500_000 // part),
        f"{500_000 // part:,} cancelled entries": lambda c: hashes(c, "opsdash:pause:cancelled", 500_000 // part),
        f"{50_000 // part:,} reports": lambda client: reports(client, 50_000 // part),
        f"fields of {50 // part} MB": lambda client: field(client, 50_000_000 // part),
        f"30 messages of {20 // part} MB": lambda client: messages(client, 30, 20_000_000 // part),
    }


def measured(url: str, database: str, what: str) -> tuple[float, float]:
    """Milliseconds, and MB that the process grew by."""
    done = subprocess.run(
        [sys.executable, "-c", DOES, url, database, what], capture_output=True, text=True, timeout=300, check=True
    )
    took_ms, grown_mb = done.stdout.split()
    return float(took_ms), float(grown_mb)


def acts(name: str) -> Iterator[str]:
    yield from ("look", "pause")
    if "messages" in name:
        yield "preview"


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Each flood by itself: a look, a pause, and with messages the preview of ``clear-tasks --containing``."""
    figures: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    with server() as made, services.folder() as home, redis.Redis.from_url(made.url) as client:
        database = f"sqlite:///{Path(home) / 'bench.sqlite3'}"
        migrations.upgrade(database)
        nothing: dict[str, Callable[[redis.Redis], Any]] = {"nothing": lambda _client: None}
        for name, fill in {**nothing, **floods(10 if quick else 1)}.items():
            client.flushall()
            fill(client)
            for what in acts(name):
                took_ms, grown_mb = measured(made.url, database, what)
                for figure, value, unit in ((what, took_ms, "ms"), (f"{what} grows by", grown_mb, "MB")):
                    figures.setdefault(f"{name}: {figure}", []).append(value)
                    units[f"{name}: {figure}"] = unit
                client.delete("system:pause_processing")
        client.flushall()
    return figures, {}, units
