"""Two hundred workers that hold: SIMULATED by threads of another process that hear, report and confirm."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import threading
import time

import redis
from stage import server

import opsdash
from opsdash.keys import Keys
from opsdash.services.database import migrations
from opsdash.worker.gate import READY

WORKERS = 200


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds; the PUBLISH count is per pause."""
    figures: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        database = f"sqlite:///{broker.home / 'bench.sqlite3'}"
        migrations.upgrade(database)
        ops = stack.enter_context(contextlib.closing(opsdash.connect(redis_url=broker.url, database_url=database)))
        crowd = multiprocessing.get_context("spawn").Process(target=gather, args=(broker.url,), daemon=True)
        crowd.start()
        stack.callback(crowd.kill)
        while len(ops.get_worker_stats()) < WORKERS:
            time.sleep(0.05)
        for _ in range(5 if quick else 50):
            published = calls(ops, "publish")
            began = time.perf_counter()
            epoch = ops.pause.pause(None, by="bench", reason="", ttl_s=600).epoch
            figures.setdefault("pause: the call", []).append((time.perf_counter() - began) * 1000)
            while any(worker.epoch != epoch for worker in ops.get_worker_stats()):
                time.sleep(0.005)
            figures.setdefault("pause: all 200 have confirmed", []).append((time.perf_counter() - began) * 1000)
            figures.setdefault("PUBLISH sent", []).append(calls(ops, "publish") - published)
            for _ in range(5):
                began = time.perf_counter()
                ops.get_worker_stats()
                figures.setdefault("status read, 200 workers", []).append((time.perf_counter() - began) * 1000)
            ops.pause.resume(None)
            time.sleep(0.05)
    return figures, {}, "ms"


def calls(ops: opsdash.services.console.Console, command: str) -> int:
    """How often Redis has run a command, scripts included."""
    return int(ops.broker.client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def gather(url: str) -> None:
    """The crowd's process."""
    threads = [threading.Thread(target=simulate, args=(url, number), daemon=True) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def simulate(url: str, number: int) -> None:
    """One worker: waits for a nudge, reads the flags, writes its hash."""
    keys, hostname = Keys(), f"simulated-{number}@bench"
    with contextlib.ExitStack() as stack, contextlib.suppress(redis.RedisError):  # the server goes first
        client = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))
        heard = stack.enter_context(client.pubsub())
        heard.subscribe(keys.nudge)
        while True:
            epoch, flag = client.mget(keys.pause_epoch, keys.pause())
            now = time.time()
            report = {
                "time": now, "loop_tick": now, "pid": number, "uptime_s": 1, "processed": 0, "active": 0,
                "reserved": 0, "scheduled": 0, "concurrency": 4, "pool": "prefork", "memory_bytes": 1,
                "queues": json.dumps(["celery"]), "paused": int(flag is not None), "paused_queues": "[]",
                "epoch": epoch or 0, "pausing": READY, "version": "", "started": "{}",
            }  # fmt: skip
            with client.pipeline(transaction=True) as pipe:
                pipe.hset(keys.worker(hostname), mapping=report)
                pipe.zadd(keys.workers, {hostname: now})
                pipe.execute()
            heard.get_message(timeout=2.0)
