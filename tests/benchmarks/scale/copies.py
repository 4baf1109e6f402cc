"""More reports than this machine can have workers: copies of a light worker's report, kept fresh.

    python -m benchmarks.scale.copies URL NUMBER QUEUES EACH

What the console reads of them is what it reads of workers. They hear nothing: for a pause there are light workers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from .light_workers import served_by

ORIGINAL, LIST = "light0000@scale", "opsdash:workers"
EVERY_S, AT_ONCE = 2.0, 500


def main(words: Sequence[str]) -> None:
    """Reports that stay fresh until this process is ended; prints a line once all are there."""
    url, number, queues, each = words[0], *map(int, words[1:])
    with redis.Redis.from_url(url, decode_responses=True) as store:
        original: Any = store.hgetall(f"opsdash:worker:{ORIGINAL}")
        began, first = time.time(), True
        while True:
            for start in range(0, number, AT_ONCE):
                with store.pipeline(transaction=False) as pipe:
                    for at in range(start, min(number, start + AT_ONCE)):
                        report(pipe, at, moving(began) if not first else copied(original, at, queues, each))
                    pipe.execute()
            if first:
                print("ready", flush=True)
            first = False
            time.sleep(EVERY_S)  # as often as workers report


def report(pipe: Any, at: int, fields: Mapping[str, str]) -> None:
    """One report, or what has changed of it."""
    hostname = f"copy{at:04}@scale"
    pipe.hset(f"opsdash:worker:{hostname}", mapping=dict(fields))
    pipe.zadd(LIST, {hostname: time.time()})


def moving(began: float) -> dict[str, str]:
    """What changes while a worker idles."""
    now = time.time()
    return {"time": f"{now:.3f}", "clock": f"{now:.3f}", "loop_tick": f"{now:.3f}", "uptime_s": f"{now - began:.1f}"}


def copied(original: Mapping[str, str], at: int, queues: int, each: int) -> dict[str, str]:
    """The whole of it, of another name and with its own queues."""
    names = json.dumps(served_by(at, queues, each))
    own = {"hostname": f"copy{at:04}@scale", "instance": f"{at:016x}", "pid": str(10_000 + at), "clients": "[]"}
    return {**original, **own, "queues": names, "exchanges": names, **moving(time.time())}


if __name__ == "__main__":
    main(sys.argv[1:])
