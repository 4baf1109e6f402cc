"""Health of workers that do not exist, as the plug-in pushes it: for pages that must show many of them."""

from __future__ import annotations

import json
import time

import redis

from opsdash.keys import Keys

KEYS = Keys()
LAYOUT = json.dumps({"separator": "\x06\x16", "steps": [0, 3, 6, 9]})


def report(store: redis.Redis, *hostnames: str, lasts_s: float = 0.0, keys: Keys = KEYS, **over: str) -> None:
    """A report of each worker, now; or one that stays fresh for so long, however slow the machine is."""
    now = str(time.time() + lasts_s)
    health = {
        "time": now, "loop_tick": now, "pid": "7", "uptime_s": "9252", "processed": "5", "failed": "3", "active": "1",
        "reserved": "2", "scheduled": "0", "concurrency": "4", "pool": "prefork", "load": "0.5",
        "memory_bytes": "73000000", "queues": '["celery"]', "paused": "0", "paused_queues": "[]", "epoch": "0",
        "pausing": "ready", "version": "1.2.3", "layout": LAYOUT,
    }  # fmt: skip
    with store.pipeline() as pipe:
        for hostname in hostnames:
            pipe.hset(keys.worker(hostname), mapping={**health, **over})
            pipe.zadd(keys.workers, {hostname: float(now)})
        pipe.execute()


def report_many(store: redis.Redis, number: int, *, lasts_s: float = 0.0, **over: str) -> None:
    """So many workers, ``w000@test`` and on."""
    report(store, *(f"w{i:03}@test" for i in range(number)), lasts_s=lasts_s, **over)
