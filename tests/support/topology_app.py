"""The app of tests on exchanges, keys and bindings: queues come from the environment, tasks tell what they see."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import redis
from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue, binding
from support.sample_app import RECORDER, _die_with_the_worker  # noqa: F401 - connects its signal

import opsdash.worker

TOLD = "topology:told"
"""Redis list: JSON of what each task saw of its delivery when it began, in order."""


@dataclass(frozen=True)
class Topology:
    """Exchanges by name and type, and what each queue is bound with.

    Attributes:
        exchanges: Name → ``direct`` or ``topic``; the name ``""`` is the default exchange.
        queues: Name → (exchange, key) of each of its bindings.
        options: More settings of Celery.
    """

    exchanges: dict[str, str]
    queues: dict[str, list[tuple[str, str]]]
    options: dict[str, Any]

    def to_env(self) -> str:
        return json.dumps(asdict(self))

    def queues_of(self, exchange: str, key: str) -> set[str]:
        """Where a message with this address goes, by the rules of AMQP."""
        if not exchange:
            return {key} & self.queues.keys()
        matches = _matches if self.exchanges[exchange] == "topic" else str.__eq__
        return {
            name
            for name, bindings in self.queues.items()
            if any(bound == exchange and matches(pattern, key) for bound, pattern in bindings)
        }

    def declared(self) -> list[Queue]:
        made = {name: Exchange(name, type=kind) for name, kind in self.exchanges.items()}
        found = []
        for name, bindings in self.queues.items():
            exchange, key = bindings[0]
            if len(bindings) == 1:
                found.append(Queue(name, made.get(exchange) or Exchange(""), routing_key=key))
            else:  # kombu binds these, and leaves out an exchange of the queue's own then
                found.append(Queue(name, bindings=[binding(made[other], routing_key=k) for other, k in bindings]))
        return found


def _matches(pattern: str, key: str) -> bool:
    return _match(pattern.split("."), key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_match(pattern[1:], words[n:]) for n in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])


def make_app(broker_url: str, topology: Topology) -> Celery:
    """The app, for a worker or for whoever sends tasks."""
    made = Celery("topology", broker=broker_url, set_as_current=False)
    made.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_queues=topology.declared(),
        task_default_queue=next(iter(topology.queues)),
        broker_transport_options={"priority_steps": [0, 3, 6, 9], "queue_order_strategy": "priority"},
    )
    made.conf.update(topology.options)
    return made


def from_env() -> Topology:
    raw = json.loads(os.environ["TOPOLOGY"])
    queues = {name: [(e, k) for e, k in bindings] for name, bindings in raw["queues"].items()}
    return Topology(raw["exchanges"], queues, raw["options"])


app = Celery("none", set_as_current=False)
if "TOPOLOGY" in os.environ:
    app = make_app(os.environ["OPSDASH_REDIS_URL"], from_env())
    opsdash.worker.install(app)


@cache
def _records(pid: int) -> redis.Redis:
    return redis.Redis.from_url(os.environ["OPSDASH_REDIS_URL"], client_name=RECORDER)


def _tell(task: Any, number: int) -> None:
    """Writes down all that a task can see of its delivery."""
    request = task.request
    seen = {
        "id": request.id,
        "number": number,
        "worker": request.hostname,
        "at": time.time(),
        "delivery_info": request.delivery_info,
        "retries": request.retries,
        "expires": request.expires,
        "headers": request.headers,
        "kwargs": request.kwargs,
    }
    _records(os.getpid()).rpush(TOLD, json.dumps(seen, default=str))


@app.task(name="topology.early", bind=True)
def early(self: Any, number: int = 0, seconds: float = 0.0) -> None:
    _tell(self, number)
    time.sleep(seconds)


@app.task(name="topology.late", bind=True, acks_late=True)
def late(self: Any, number: int = 0, seconds: float = 0.0) -> None:
    _tell(self, number)
    time.sleep(seconds)


@app.task(name="topology.again", bind=True, acks_late=True)
def again(self: Any, number: int = 0, seconds: float = 0.0) -> None:
    """Goes back to its queue until it is delivered for the second time, as a task whose turn has not come."""
    _tell(self, number)
    time.sleep(seconds)
    if not self.request.delivery_info.get("redelivered"):
        raise Reject("not yet", requeue=True)


@app.task(name="topology.limited", bind=True, rate_limit="20/s")
def limited(self: Any, number: int = 0, seconds: float = 0.0) -> None:
    _tell(self, number)
