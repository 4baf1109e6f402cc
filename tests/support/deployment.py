"""One broker with real workers on it, and what a test does to it: send, pause, look."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from support.sample_app import RECORDER
from support.services import Valkey
from support.workers import Records, eventually, producer

from opsdash.keys import Keys
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.pause.flags import PauseFlags

SOON_S = 0.5
"""A task that began later than this after the pause was set began in spite of it."""


class Deployment:
    """One broker with everything a test does to it: send, pause, look."""

    def __init__(self, server: Valkey, celery: Any, keyprefix: str = "") -> None:
        self.server = server
        self.celery = celery
        self.redis = redis.Redis.from_url(server.url, decode_responses=True)
        self.keys = Keys(keyprefix)
        self.broker = Broker(self.redis, Layouts.fixed(self.redis, Layout(prefix=keyprefix)), "test", ("celery",))
        self.flags = PauseFlags(self.broker)
        self.records = Records(server.url)
        self.env = {"OPSDASH_REDIS_URL": server.url, "SAMPLE_KEYPREFIX": keyprefix}

    def send(self, number: int, name: str = "sample.short", **options: Any) -> list[str]:
        """Sends tasks with the arguments 0, 1, 2 …; returns their ids in that order."""
        with self.celery.connection_for_write() as connection:
            return [self.celery.send_task(name, [n], connection=connection, **options).id for n in range(number)]

    def pause(self, queue: str | None = None) -> float:
        """Pauses as the console does; returns when."""
        at = time.time()
        self.flags.pause(queue, by="maria", reason="test", ttl_s=600)
        return at

    def resume(self, queue: str | None = None) -> None:
        self.flags.resume(queue)

    def health(self, hostname: str) -> dict[str, str]:
        return self.redis.hgetall(self.keys.worker(hostname))

    def wait_until_confirmed(self, hostname: str) -> None:
        """Waits until the worker reports that it has applied the latest pause or resume."""
        epoch = self.redis.get(self.keys.pause_epoch)
        eventually(lambda: self.health(hostname).get("epoch") == epoch, what=f"{hostname} confirms epoch {epoch}")

    def waiting(self, queue: str = "celery") -> int:
        """Messages in the queue's lists, all priorities."""
        return sum(self.redis.llen(key) for key in self.lists(queue))

    def lists(self, queue: str = "celery") -> list[str]:
        return list(self.broker.lists(queue).values())

    def task_ids(self, queue: str = "celery") -> list[str]:
        """Ids of the queue's tasks, the next to run first."""
        return [message["headers"]["id"] for message in self.messages(queue)]

    def messages(self, queue: str = "celery") -> list[dict[str, Any]]:
        """The queue's messages, the next to run first."""
        lines = [line for key in self.lists(queue) for line in reversed(self.redis.lrange(key, 0, -1))]
        return [json.loads(line) for line in lines]

    def unacked(self) -> int:
        """Messages that workers hold."""
        return self.redis.hlen(f"{self.keys.prefix}unacked")

    def started_after(self, at: float) -> int:
        return sum(1 for start in self.records.starts() if start.at > at)

    def cut_connections(self) -> None:
        """Cuts every connection to the broker but this one and those that running tasks record by."""
        own = self.redis.client_id()
        for client in self.redis.client_list():
            if int(client["id"]) != own and client["name"] != RECORDER:
                self.redis.client_kill_filter(_id=client["id"])

    def puts_in(self, seconds: float) -> int:
        """How many messages are put into lists in so many seconds."""

        def puts() -> int:
            statistics = self.redis.info("commandstats")
            return sum(int(statistics.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("lpush", "rpush"))

        before = puts()
        time.sleep(seconds)
        return puts() - before

    def children(self, hostname: str) -> list[int]:
        """A prefork worker's children, as it tells."""
        stats: dict[str, Any] = {}
        for _ in range(3):  # a busy machine's worker may answer too late
            stats = stats or self.celery.control.inspect([hostname], timeout=5).stats() or {}
        return list(stats[hostname]["pool"]["processes"])

    def written_to(self, children: list[int]) -> int:
        """To how many of these a job was written that they have not read. Looks into their pipes; Linux alone."""
        return sum(any(map(_has_bytes, Path(f"/proc/{pid}/fd").iterdir())) for pid in children)

    @contextlib.contextmanager
    def stopped(self, children: list[int]) -> Iterator[None]:
        """Children that stand still: what the worker writes to them, they read when they go on."""

        def tell(number: signal.Signals) -> None:
            for pid in children:
                with contextlib.suppress(ProcessLookupError):  # it had run as many tasks as it may, and was replaced
                    os.kill(pid, number)

        tell(signal.SIGSTOP)
        try:
            yield
        finally:
            tell(signal.SIGCONT)

    def close(self) -> None:
        self.redis.close()
        self.records.close()


@contextlib.contextmanager
def deploy(server: Valkey, keyprefix: str = "") -> Iterator[Deployment]:
    with producer(server.url, keyprefix) as celery, contextlib.closing(Deployment(server, celery, keyprefix)) as made:
        yield made


def as_sent(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages without what tells them from their first delivery."""
    for message in messages:
        message["headers"].pop("redelivered", None)
        message["properties"]["delivery_info"].pop("redelivered", None)
        message["properties"].pop("delivery_tag")
    return messages


def each_exactly_once(ids: list[str]) -> dict[str, int]:
    return dict.fromkeys(ids, 1)


def _has_bytes(descriptor: Path) -> bool:
    """A pipe of another process, with something in it that nobody has read."""
    if not str(os.readlink(descriptor)).startswith("pipe:"):
        return False
    opened = os.open(descriptor, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("i", fcntl.ioctl(opened, termios.FIONREAD, b"\0" * 4))[0] > 0
    finally:
        os.close(opened)
