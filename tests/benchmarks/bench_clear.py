"""Clearing one queue of many messages, and how long another client waits meanwhile.

In Python, and as commands: ``celery purge -f`` and ``opsdash clear-queue`` are processes, whose start counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from celery import Celery
from support import services

from opsdash.config.settings import Settings
from opsdash.services.broker.client import Broker, connect
from opsdash.services.database import migrations
from opsdash.services.queues.read import Queues

MESSAGE = "x" * 921
CHUNK = 5_000


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds of each way, and the longest PING of another client while it ran."""
    messages, rounds = (50_000, 3) if quick else (1_000_000, 7)
    figures: dict[str, list[float]] = {}
    with services.folder() as home:
        server = services.Valkey(home)
        server.start()
        broker = connect(Settings.from_env({}, redis_url=server.url, queues=("celery",)))
        app = Celery(broker=server.url, set_as_current=False)
        ways = {
            "opsdash clear": lambda: Queues(broker).clear("celery", by="bench", keep_s=60),
            "app.control.purge()": app.control.purge,
            "celery purge -f": lambda: command(home, "celery", "-b", server.url, "purge", "-f"),
            "opsdash clear-queue": lambda: command(home, "opsdash", "clear-queue", "celery", "--confirm", "YES"),
            "DEL": lambda: broker.client.delete(*broker.lists("celery").values()),
        }
        environment = {"OPSDASH_REDIS_URL": server.url, "OPSDASH_DATABASE_URL": f"sqlite:///{home / 'bench.sqlite3'}"}
        os.environ.update(environment)
        migrations.upgrade(environment["OPSDASH_DATABASE_URL"])
        app.control.purge()  # connects
        for _ in range(rounds):
            for name, clear in ways.items():
                broker.client.flushall()
                fill(broker, messages)
                took_ms, stall_ms = timed(clear, broker)
                if broker.client.exists(*broker.lists("celery").values()):
                    raise RuntimeError(f"{name} left messages behind")
                figures.setdefault(f"{name}, {messages:,} messages", []).append(took_ms)
                figures.setdefault(f"{name}, longest stall", []).append(stall_ms)
        broker.client.close()
        app.close()
        server.kill()
    own = f"opsdash clear, {messages:,} messages"
    pairs = {
        f"{name} / opsdash": (f"{name}, {messages:,} messages", own) for name in ways if not name.startswith("opsdash")
    }
    pairs["celery purge -f / opsdash clear-queue"] = (
        f"celery purge -f, {messages:,} messages",
        f"opsdash clear-queue, {messages:,} messages",
    )
    return figures, pairs, "ms"


def command(home: Path, module: str, *arguments: str) -> None:
    """A real command in a process of its own, its start included."""
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=home, check=True, capture_output=True)


def fill(broker: Broker, messages: int) -> None:
    """As many messages in the queue, over all four priorities."""
    for key in broker.lists("celery").values():
        for _ in range(messages // 4 // CHUNK):
            broker.client.rpush(key, *[MESSAGE] * CHUNK)


def timed(act: object, broker: Broker) -> tuple[float, float]:
    """How long the act took, and the longest round trip another client saw meanwhile, in milliseconds."""
    stop, longest = threading.Event(), [0.0]
    other = broker.client.connection_pool.get_connection()

    def ping() -> None:
        while not stop.is_set():
            started = time.perf_counter()
            other.send_command("PING")
            other.read_response()
            longest[0] = max(longest[0], time.perf_counter() - started)

    thread = threading.Thread(target=ping)
    thread.start()
    started = time.perf_counter()
    act()
    took = time.perf_counter() - started
    stop.set()
    thread.join()
    broker.client.connection_pool.release(other)
    return took * 1_000, longest[0] * 1_000
