"""What a concurrency limit costs: a task at the worker's gate, and tasks a second of a real worker.

A limit of other names, one that is never reached, and one that lets a single task run at once: then each but the first
is set aside and fetched again.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from celery.worker import state as worker_state
from stage import client, server, throughput
from support.workers import worker

from opsdash.config.settings import Settings
from opsdash.model.hold import Hold, hold_id
from opsdash.services.broker.client import connect
from opsdash.services.pause.holds import Holds
from opsdash.worker.concurrency_limits import ConcurrencyLimits
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.hold_rules import HoldRules
from opsdash.worker.message_origin import Origin
from opsdash.worker.slots import Leased

REQUESTS = 20_000
PLAIN = "a task, no limit"
WAYS: dict[str, tuple[tuple[str, ...], str]] = {
    PLAIN: ((), "shop.mail"),
    "a task of another name, one limit": (("shop.charge",), "shop.mail"),
    "a task of another name, 100 limits": (tuple(f"shop.charge{n}*" for n in range(100)), "shop.mail"),
    "a limited task with a slot": (("shop.charge",), "shop.charge"),
}
NO_LIMIT = "no limit"
LIMITS = {
    NO_LIMIT: None,
    "of other names": ("shop.*", 1),
    "not reached": ("sample.*", 1_000),
    "one at once": ("sample.*", 1),
}
ROUNDS, TASKS = 5, 2_000


class Request(SimpleNamespace):
    """As much of a request as the gate, and the end of a task, need."""

    __hash__ = object.__hash__  # type: ignore[assignment] # a namespace has none, and requests are kept in sets

    def ends(self) -> None:
        """What Celery calls."""
        worker_state.reserved_requests.discard(self)

    on_success = on_failure = on_timeout = ends


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Microseconds for a task, its start and its end; tasks a second, and a second of the worker's processor."""
    figures: dict[str, list[float]] = {}
    for _ in range(3 if quick else 9):
        for name, (limits, task) in WAYS.items():
            figures.setdefault(name, []).append(per_task(limits, task))
    pairs = {f"{name} / no limit": (name, PLAIN) for name in WAYS if name != PLAIN}
    units = dict.fromkeys(figures, "µs")
    for way, per_s, per_processor_s in rounds(2 if quick else ROUNDS, 500 if quick else TASKS):
        figures.setdefault(f"prefork: {way}", []).append(per_s)
        figures.setdefault(f"prefork: {way}, per processor second", []).append(per_processor_s)
    for unit in ("", ", per processor second"):
        for way in LIMITS:
            units[f"prefork: {way}{unit}"] = "1/s"
            if way != NO_LIMIT:
                pairs[f"prefork: {way} / no limit{unit}"] = (f"prefork: {way}{unit}", f"prefork: {NO_LIMIT}{unit}")
    return figures, pairs, units


def per_task(names: tuple[str, ...], task: str) -> float:
    """From the gate to the pool, and the task's end."""
    ended: list[Any] = []
    gate = Gate(ended.append, ())
    rules = HoldRules(tuple(Hold(id=hold_id("limit", name), kind="limit", name=name, most=1_000) for name in names))
    consumer: Any = SimpleNamespace(pool=SimpleNamespace(num_processes=1_000))
    limits = ConcurrencyLimits(consumer, gate, "bench", lambda *_: None)
    limits.apply(rules, lambda _matches: None)
    for limit in limits._limits.values():
        limit.slots.run()
        limit.slots.renew(lambda *_: Leased(now_s=0.0, slots=1_000))
    with gate.lock:
        gate.set(PauseState(epoch=1, known=frozenset({"celery"}), rules=rules))
    place = Origin("celery", "celery", b"{}")
    requests = [
        Request(name=task, acknowledged=False, message=SimpleNamespace(opsdash_origin=place, acknowledged=False))
        for _ in range(REQUESTS)
    ]
    began = time.perf_counter()
    for request in requests:
        worker_state.reserved_requests.add(request)
        gate.on_task_request(request)
        request.on_success()
    took = time.perf_counter() - began
    if len(ended) != REQUESTS or any(used > 1 for used in limits.used().values()):
        raise RuntimeError("a task did not pass, or kept its slot")
    return took / REQUESTS * 1e6


def rounds(number: int, tasks: int) -> Iterator[tuple[str, float, float]]:
    """A worker with each limit, and how fast it is in each round, by turns."""
    with contextlib.ExitStack() as stack:
        stores, pids = {}, {}
        for way, limit in LIMITS.items():
            broker = stack.enter_context(server())
            stores[way] = (broker, stack.enter_context(client(broker)))
            if limit is not None:
                console = connect(Settings.from_env({}, redis_url=broker.url, queues=("celery",)))
                Holds(console).set("limit", limit[0], most=limit[1], by="bench", reason="", ttl_s=3_600)
                console.client.close()
            env = {"OPSDASH_REDIS_URL": broker.url}
            pids[way] = stack.enter_context(worker(concurrency=2, env=env)).pid
        for at in range(number + 1):
            for way in random.sample(list(LIMITS), len(LIMITS)):
                per_s, per_processor_s = throughput(*stores[way], pids[way], tasks)
                if at:  # the first round warms up
                    yield way, per_s, per_processor_s
