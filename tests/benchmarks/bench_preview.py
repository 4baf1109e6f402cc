"""Looking at a queue of many messages before it is cleared: how long it takes, and how true its estimate is."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from uuid import UUID

from stage import server
from support import services

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.broker.client import Broker
from opsdash.services.database import migrations

CHUNK = 5_000
SHARES = {"shop.mail.send": 60, "shop.pay.charge": 30, "shop.stock.sync": 9, "shop.report.night": 1}
SIZE = 921


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str | dict[str, str]]:
    """Milliseconds of a preview and of counting all; percentage points by which the estimate was off."""
    messages, rounds = (100_000, 5) if quick else (1_000_000, 15)
    figures: dict[str, list[float]] = {}
    units: dict[str, str] = {}

    def note(name: str, value: float, unit: str = "ms") -> None:
        figures.setdefault(name, []).append(value)
        units[name] = unit

    with server() as made, services.folder() as home:
        database = f"sqlite:///{home / 'bench.sqlite3'}"
        migrations.upgrade(database)
        console = assemble(
            Settings.from_env({}, redis_url=made.url, database_url=database, queues=("celery",), secret_key="k" * 32)
        )
        truth = fill(console.broker, messages)
        clear = opsdash.ClearQueue(queue="celery")
        some = opsdash.ClearTasks(queue="celery", task="shop.pay.*")
        console.preview(clear)  # connects
        for _ in range(rounds):
            preview, took_ms = timed(lambda: console.preview(clear))
            note(f"preview of a clear, {messages:,} messages", took_ms)
            off = {name: abs(preview.values()["by_task"].get(name, 0) - number) for name, number in truth.items()}
            errors = preview.values()["by_task_error"]
            note("its estimate is off by, at most", 100 * max(off.values()) / messages, "points")
            note("the error it tells, at most", 100 * max(errors.values()) / messages, "points")
            within = sum(off[name] <= errors[name] for name in errors if name in off)
            note(
                "kinds it names whose error holds the truth", 100 * within / len(off.keys() & errors.keys()), "percent"
            )
            note("messages it looked at", preview.values()["looked_at"], "messages")
            preview, took_ms = timed(lambda: console.preview(some))
            note(f"preview of a selective clear, {messages:,} messages", took_ms)
            counted, took_ms = timed(lambda: count_all(console.broker))
            if counted != truth:
                raise RuntimeError("counting all gave another result")
            note("counting all with LRANGE", took_ms)
        console.close()
    own = f"preview of a clear, {messages:,} messages"
    return figures, {"counting all / preview": ("counting all with LRANGE", own)}, units


def timed(act):
    """What it returned, and the milliseconds it took."""
    started = time.perf_counter()
    result = act()
    return result, (time.perf_counter() - started) * 1_000


def fill(broker: Broker, messages: int) -> Counter[str]:
    """Messages of several kinds, in runs as producers send them, of one priority; returns how many of each.

    One long list is the dearest to look into: what lies in its middle is far from either end.
    """
    chance, truth = random.Random(7), Counter[str]()
    for _ in range(messages // CHUNK):
        drawn = chance.choices(list(SHARES), list(SHARES.values()), k=CHUNK // 10)
        names = [name for name in drawn for _ in range(10)]
        truth.update(names)
        broker.client.rpush(broker.lists("celery")[0], *(message(name, chance) for name in names))
    return truth


def message(name: str, chance: random.Random) -> str:
    made = {
        "headers": {"task": name, "id": str(UUID(int=chance.getrandbits(128), version=4)), "retries": 0, "eta": None},
        "properties": {"delivery_tag": str(UUID(int=chance.getrandbits(128), version=4))},
        "content-type": "application/json",
        "body": "",
    }
    made["body"] = "x" * (SIZE - len(json.dumps(made)))
    return json.dumps(made)


def count_all(broker: Broker) -> Counter[str]:
    """What one would write: every message read and its name counted."""
    counted = Counter[str]()
    for key in broker.lists("celery").values():
        for start in range(0, broker.client.llen(key), CHUNK):
            texts = broker.client.lrange(key, start, start + CHUNK - 1)
            counted.update(json.loads(text)["headers"]["task"] for text in texts)
    return counted
