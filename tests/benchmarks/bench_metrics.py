"""One scrape of ``/metrics`` with 500 workers: idle, under load, beside four busy processes, and without a poller.

The last one is what a plain exporter does: it reads Redis at every scrape.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import threading
import time

import redis
from stage import server
from support.served import Client, serving

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.keys import Keys
from opsdash.services.database import migrations
from opsdash.worker.gate import READY

WORKERS, READERS, STREAMS = 500, 8, 20
TOKEN = "a-token-of-the-benchmark"


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds from the request to the last byte."""
    idle, busy, naive = "scrape, 500 workers, idle", "scrape, 500 workers, busy", "reading Redis at the scrape"
    beside = "scrape, 500 workers, four busy processes beside"
    figures: dict[str, list[float]] = {idle: [], busy: [], beside: [], naive: []}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        database = f"sqlite:///{broker.home / 'bench.sqlite3'}"
        migrations.upgrade(database)
        report(broker.url)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(target=serve, args=(broker.url, database, theirs), daemon=True)
        child.start()
        stack.callback(child.kill)
        api = Client(ours.recv(), "", TOKEN)
        own = assemble(Settings.from_env({}, redis_url=broker.url, database_url=database))
        stack.callback(own.close)
        api.get("/metrics")
        for _ in range(2 if quick else 10):
            report(broker.url)
            time.sleep(2.5)  # the poller sees them
            for _ in range(10):
                figures[idle].append(timed(lambda: api.get("/metrics")))
                figures[naive].append(timed(own.snapshot))
            with crowd(api):
                figures[busy] += [timed(lambda: api.get("/metrics")) for _ in range(10)]
            with hogs():
                for _ in range(10):
                    figures[beside].append(timed(lambda: api.get("/metrics")))
                    time.sleep(0.2)
    return figures, {"busy / idle": (busy, idle), "reading Redis / idle": (naive, idle)}, "ms"


def timed(call: object) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def serve(url: str, database: str, told: object) -> None:
    """The console's process."""
    tokens = Settings.from_env({"OPSDASH_API_TOKENS": f"bench:viewer:{TOKEN}"}).api_tokens
    settings = Settings.from_env({}, redis_url=url, database_url=database, auth="dev", api_tokens=tokens)
    with serving(assemble(settings)) as api:
        told.send(api.port)
        threading.Event().wait()


@contextlib.contextmanager
def crowd(api: Client):
    """Programs that read the status as fast as they are answered, and others that follow the events."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            api.get("/api/v1/status")

    def follow() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)) as connection:
            connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            while not over.is_set() and answer.readline():
                pass

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    threads += [threading.Thread(target=follow) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def hogs():
    """Four processes that want the whole of a core each."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=spin, daemon=True) for _ in range(4)]
    for process in running:
        process.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def spin() -> None:
    """Computes until it is killed."""
    while True:
        pass


def report(url: str) -> None:
    """The pushed health of all workers."""
    keys, now = Keys(), time.time()
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipe:
        for number in range(WORKERS):
            hostname = f"simulated-{number}@bench"
            pipe.hset(
                keys.worker(hostname),
                mapping={
                    "time": now, "loop_tick": now, "pid": number, "uptime_s": 1, "processed": 0, "active": 0,
                    "reserved": 0, "scheduled": 0, "concurrency": 4, "pool": "prefork", "memory_bytes": 1,
                    "queues": json.dumps(["celery"]), "paused": 0, "paused_queues": "[]",
                    "epoch": 0, "pausing": READY, "version": "", "started": "{}",
                },
            )  # fmt: skip
            pipe.zadd(keys.workers, {hostname: now})
        pipe.execute()
