"""What a hold costs each other task at the worker's gate, and the release of 200,000: its longest stall."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from stage import server
from stall import timed

from opsdash.config.settings import Settings
from opsdash.model.hold import Hold, hold_id
from opsdash.services.broker.client import Broker, connect
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.hold_rules import HoldRules
from opsdash.worker.message_origin import Origin

TASKS = 200_000
FILL = """
for n = 1, ARGV[1] do
  local head = '{"headers": {"id": "' .. ARGV[2] .. n .. '", "task": "shop.charge"}, "body": "'
  local text = head .. string.rep('x', 400) .. '"}'
  redis.call('LPUSH', KEYS[1], text)
  if KEYS[2] then redis.call('LPUSH', KEYS[2], n .. '.0 1764364800.0') end
end
"""
ONE_SCRIPT = """
for _ = 1, redis.call('LLEN', KEYS[1]) do redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT') end
"""
STEP = 10_000


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Microseconds for a task, three looks included; milliseconds of the release."""
    figures: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    for _ in range(3 if quick else 9):
        for name, rules in WAYS.items():
            figures.setdefault(name, []).append(per_task(rules))
            units[name] = "µs"
    with server() as made:
        broker = connect(Settings.from_env({}, redis_url=made.url, queues=("celery",)))
        for waiting in (0, 50_000):
            for _ in range(1 if quick else 5):
                for name in ("opsdash release", "one script"):
                    hold = prepare(broker, waiting)
                    took = timed(lambda name=name, hold=hold: release(broker, hold, name), made.url)
                    if broker.client.llen("celery") != TASKS + waiting:
                        raise RuntimeError(f"{name} lost or doubled messages")
                    for what, value in (("", took.ms), (", longest stall", took.stall_ms)):
                        figures.setdefault(f"{name}, {waiting:,} waiting{what}", []).append(value)
                        units[f"{name}, {waiting:,} waiting{what}"] = "ms"
        broker.client.close()
    pairs = {
        "stall of one script / opsdash, 50,000 waiting": (
            "one script, 50,000 waiting, longest stall",
            "opsdash release, 50,000 waiting, longest stall",
        )
    }
    return figures, pairs, units


def per_task(rules: HoldRules) -> float:
    """Of the gate and the two looks around a task's start, for a task that nothing holds."""
    gate = Gate(lambda _request: None, ())
    with gate.lock:
        gate.set(PauseState(epoch=1, known=frozenset({"celery"}), rules=rules))
    place = Origin("celery", "celery", b"{}")
    requests: list[Any] = [
        SimpleNamespace(name=f"shop.mail{n % 20}", acknowledged=False, message=SimpleNamespace(opsdash_origin=place))
        for n in range(20_000)
    ]
    began = time.perf_counter()
    for request in requests:
        gate.on_task_request(request)
        for _ in range(2):
            if gate.closed:
                gate.holds(request)
    return (time.perf_counter() - began) / len(requests) * 1e6


def rules_of(*names: str) -> HoldRules:
    """Holds of tasks by these names."""
    return HoldRules(tuple(Hold(id=hold_id("task", name), kind="task", name=name) for name in names))


WAYS = {
    "a task, nothing held": HoldRules(),
    "a task, one hold": rules_of("shop.charge"),
    "a task, 100 holds": rules_of(*(f"shop.charge{n}*" for n in range(100))),
}


def prepare(broker: Broker, waiting: int) -> Hold:
    """200,000 held tasks, and so many in the queue."""
    broker.client.flushall()
    hold = Holds(broker).set("task", "shop.charge", by="bench", reason="", ttl_s=600)
    key = broker.keys.held(hold.id, "0", "celery")
    broker.client.hset(broker.keys.held_lists, f"{hold.id}:0:celery", "celery")
    for _ in range(TASKS // STEP):
        broker.client.eval(FILL, 2, key, f"{key}:order", STEP, "h")
    for _ in range(waiting // STEP):
        broker.client.eval(FILL, 1, "celery", STEP, "w")
    return hold


def release(broker: Broker, hold: Hold, name: str) -> None:
    """By opsdash, or as one would write it."""
    if name == "one script":
        broker.client.eval(ONE_SCRIPT, 2, broker.keys.held(hold.id, "0", "celery"), "celery")
    else:
        HeldTasksMover(broker).release(hold, by="bench")
