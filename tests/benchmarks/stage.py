"""What the benchmarks share: a server of their own, prepared messages, workers by pool."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from support import services
from support.sample_app import STARTED, make_app

POOLS = ("prefork", "threads", "solo", "gevent")
STAGE = "bench:stage"


@contextlib.contextmanager
def server() -> Iterator[services.Valkey]:
    """A broker, gone at the end."""
    with services.folder() as home:
        made = services.Valkey(home)
        made.start()
        try:
            yield made
        finally:
            made.kill()


@contextlib.contextmanager
def client(server: services.Valkey) -> Iterator[redis.Redis]:
    """A client of its own for the measuring side."""
    with redis.Redis.from_url(server.url, decode_responses=True) as made:
        yield made


def prepared(
    server: services.Valkey, store: redis.Redis, number: int, name: str, last: str = "", first: int = 0
) -> None:
    """Puts messages aside, as Celery would send them; ``let_go`` hands them over at once.

    Args:
        last: Name of one more task, behind all others.
        first: The number in the first one's id.
    """
    app = make_app(server.url)
    try:
        app.send_task(name, queue="bench-template")
        if last:
            app.send_task(last, queue="bench-template")
    finally:
        app.close()
    templates = [json.loads(text) for text in store.lrange("bench-template", 0, -1)][::-1]
    store.delete("bench-template", STAGE)
    messages = [_copy(templates[0], first + at) for at in range(number)]
    if last:
        messages.append(_copy(templates[-1], first + number))
    with store.pipeline(transaction=False) as pipe:
        for start in range(0, len(messages), 1_000):
            pipe.lpush(STAGE, *messages[start : start + 1_000])
        pipe.execute()


def let_go(store: redis.Redis, queue: str = "celery") -> None:
    """Everything that was put aside waits in the queue now."""
    store.rename(STAGE, queue)


def family(pid: int) -> list[int]:
    """A process and what descends from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(grand for child in children for grand in family(int(child)))]


def cpu_s(pid: int) -> float:
    """Processor time that a process and its living descendants have used. Steps of 10 ms. Source: proc(5), stat."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def throughput(server: services.Valkey, store: redis.Redis, pid: int, tasks: int) -> tuple[float, float]:
    """Tasks a second of a worker, and a second of its processor: from the moment all wait to the last one's start.

    Raises:
        RuntimeError: The last one did not start within two minutes.
    """
    store.delete(STARTED)
    prepared(server, store, tasks, "sample.nothing", last="sample.short")
    spent_s = cpu_s(pid)
    began = store.time()
    let_go(store)
    if not services.until(lambda: store.llen(STARTED) > 0, timeout_s=120):
        raise RuntimeError(f"of {tasks:,} tasks the last one did not start")
    ended = store.time()
    took_s = (ended[0] - began[0]) + (ended[1] - began[1]) / 1e6
    return tasks / took_s, tasks / max(0.01, cpu_s(pid) - spent_s)


def _copy(template: dict[str, Any], at: int) -> str:
    number = f"{at:08d}-0000-4000-8000-000000000000"
    message = json.loads(json.dumps(template))
    message["headers"]["id"] = message["headers"]["root_id"] = number
    message["properties"]["correlation_id"] = message["properties"]["delivery_tag"] = number
    message["properties"]["delivery_info"]["routing_key"] = "celery"
    return json.dumps(message)
