"""Clearing one queue of many messages, and how long another client waits meanwhile.

In Python, and as commands: ``celery purge -f`` and ``opsdash clear-queue`` are processes, whose start counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from celery import Celery
from stall import timed
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
                took = timed(clear, server.url)
                if broker.client.exists(*broker.lists("celery").values()):
                    raise RuntimeError(f"{name} left messages behind")
                figures.setdefault(f"{name}, {messages:,} messages", []).append(took.ms)
                figures.setdefault(f"{name}, longest stall", []).append(took.stall_ms)
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
