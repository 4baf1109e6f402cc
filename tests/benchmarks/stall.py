"""How long other clients of Redis wait while something is done: as one of them sees it, and by Redis's own account.

The first one is a process of its own: a thread would wait for the interpreter of what works, not for Redis. It takes
its own median from each round trip, so that what is left is the waiting. On a busy machine that is the machine's, too.
Redis's own account, the longest command, has less of it, and nothing of the reading and writing of sockets.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

PINGS = """
import statistics, sys, threading, time, redis
client = redis.Redis.from_url(sys.argv[1])
client.ping()
connection = client.connection_pool.get_connection()
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
print("ready", flush=True)
took = []
while not took or not ended.is_set():
    started = time.perf_counter()
    connection.send_command("PING")
    connection.read_response()
    took.append(time.perf_counter() - started)
print((max(took) - statistics.median(took)) * 1000, flush=True)
"""
NOTED_US = 250
"""Shorter commands are not noted: that they are is work, too."""
NOTED = 100_000


@dataclass(frozen=True)
class Took:
    """Milliseconds of an act.

    Attributes:
        stall_ms: The longest that another client waited meanwhile.
        command_ms: The longest command or script meanwhile, as Redis says; at least ``NOTED_US``.
        slow: How many were longer than 2 ms.
    """

    ms: float
    stall_ms: float
    command_ms: float
    slow: int


def timed(act: Callable[[], object], url: str) -> Took:
    """Runs it, and says how long it and others took."""
    with redis.Redis.from_url(url) as client, other_client(url) as longest_ms, commands(client) as longest:
        started = time.perf_counter()
        act()
        took_ms = (time.perf_counter() - started) * 1_000
    command_ms, slow = longest()
    return Took(took_ms, longest_ms(), command_ms, slow)


@contextlib.contextmanager
def other_client(url: str) -> Iterator[Callable[[], float]]:
    """Another client that only sends one PING after the other.

    Yields what returns the longest that it waited, in milliseconds beyond its median; to be called afterwards.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PINGS, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    process.stdout.readline()  # it is connected
    found: list[float] = []
    try:
        yield lambda: found[0]
    finally:
        process.stdin.close()
        found += map(float, process.stdout.read().split())
        process.stdout.close()
        process.wait()


@contextlib.contextmanager
def commands(client: Any) -> Iterator[Callable[[], tuple[float, int]]]:
    """Yields what returns the longest command meanwhile, in milliseconds, and how many took more than 2 ms."""
    names = ("slowlog-log-slower-than", "slowlog-max-len")
    before = {name: value for one in names for name, value in client.config_get(one).items()}
    found: list[float] = []
    for name, value in zip(names, (NOTED_US, NOTED), strict=True):
        client.config_set(name, value)
    client.slowlog_reset()
    try:
        yield lambda: (max(found, default=NOTED_US / 1_000), sum(one > 2 for one in found))
    finally:
        found += [entry["duration"] / 1_000 for entry in client.slowlog_get(NOTED)]
        for name, value in before.items():
            client.config_set(name, value)
