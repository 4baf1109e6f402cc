"""What a storm does, drawn from its seed alone: never from the time, and never from what has come of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

QUEUES = ("celery", "emails", "reports")
TENANTS = ("acme", "birch", "cedar")
TASKS = ("sample.short", "sample.late", "sample.flaky", "sample.until_mended")
HOLDABLE = ("sample.short", "sample.late", "sample.until_mended")
WORKERS = 3
CLOCKS_S = (-8, 0, 8, 30)
CONSOLE_ACTS = {
    "pause": 6, "resume": 7, "hold": 3, "release": 4, "hold_tenant": 2, "release_tenant": 3, "clear": 4,
    "clear_tasks": 2, "clear_tenant": 1, "clear_held": 1, "restore": 5, "delete_trash": 1, "retry_failed": 3,
    "discard_failed": 1, "sync": 3, "note": 1, "limit": 3, "unlimit": 2, "cancel_workflow": 2,
}  # fmt: skip
"""Acts of the console, and how often each is drawn in proportion."""
WORLD_ACTS = {
    "push": 9, "push_chains": 4, "mend": 2, "spoil": 1, "beat": 4, "upgrade_console": 1,
    "change_tenants": 3, "start_worker": 5, "stop_worker": 2, "kill_worker": 2,
    "cut_workers": 2, "drop_connections": 2, "restart_broker": 2, "freeze_broker": 2, "fill_broker": 1,
    "cut_console": 2, "restart_database": 2, "freeze_database": 2, "kill_console": 3, "restart_console": 1,
    "cut_amid": 2, "restart_broker_amid": 2, "stop_database_amid": 2, "expire_leases": 2, "step_clock": 1,
    "fill_brokers_disk": 1, "fill_databases_disk": 2,
}  # fmt: skip
SCHEDULE_ACTS = {"pause_schedule": 3, "resume_schedule": 3, "run_schedule_now": 1}
"""What is done while a beat runs."""
LIMITED = ("sample.short", "sample.late")
BUILDS = ("this", "this", "this", "last release")
AMID = ("kill_console", "cut_amid", "restart_broker_amid", "stop_database_amid")
"""What happens in the middle of an act of the console."""
VICTIMS = (
    "pause",
    "resume",
    "clear",
    "clear",
    "restore",
    "restore",
    "release",
    "retry_failed",
    "sync",
    "hold",
    "clear_tasks",
    "limit",
    "cancel_workflow",
)
OUTAGES = ("cut_workers", "freeze_broker", "fill_broker", "cut_console", "restart_database", "freeze_database")
OUTAGES += ("fill_brokers_disk", "fill_databases_disk", "beat")
"""Acts that last while others are done."""


@dataclass(frozen=True)
class Act:
    """One thing that is done.

    Attributes:
        during: What is done while it lasts.
    """

    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    during: tuple[Act, ...] = ()

    def plain(self) -> dict[str, Any]:
        more = {"during": [act.plain() for act in self.during]} if self.during else {}
        return {"act": self.kind, **self.params, **more}

    @classmethod
    def from_plain(cls, raw: dict[str, Any]) -> Act:
        params = {name: value for name, value in raw.items() if name not in ("act", "during")}
        return cls(raw["act"], params, tuple(cls.from_plain(one) for one in raw.get("during", ())))


@dataclass(frozen=True)
class Step:
    """Acts that follow each other at once; after them everything settles and is checked."""

    number: int
    acts: tuple[Act, ...]

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps({"step": self.number, "acts": [act.plain() for act in self.acts]})


def steps(seed: int) -> Iterator[Step]:
    """The steps of this seed, without an end."""
    number = 0
    while True:
        number += 1
        yield step(seed, number)


def step(seed: int, number: int) -> Step:
    """One of them: a pure function of both numbers."""
    rng = random.Random(f"{seed}:{number}")
    kinds = CONSOLE_ACTS | WORLD_ACTS
    chosen = rng.choices(list(kinds), list(kinds.values()), k=rng.randint(1, 4))
    if rng.random() < 0.7:
        chosen.insert(0, "push")
    return Step(number, tuple(_act(rng, kind) for kind in chosen))


def from_lines(lines: Iterable[str]) -> Iterator[Step]:
    """The steps of a record; its other lines are passed over."""
    for line in lines:
        raw = json.loads(line) if line.strip() else {}
        if "acts" in raw:
            yield Step(raw["step"], tuple(Act.from_plain(act) for act in raw["acts"]))


def walk(acts: Iterable[Act]) -> Iterator[Act]:
    """They, and what is done during them."""
    for act in acts:
        yield act
        yield from walk(act.during)


def _act(rng: random.Random, kind: str) -> Act:
    during: tuple[Act, ...] = ()
    if kind in OUTAGES:
        drawn = SCHEDULE_ACTS if kind == "beat" else CONSOLE_ACTS
        inner = rng.choices(list(drawn), list(drawn.values()), k=rng.randint(0, 2))
        during = tuple(_act(rng, one) for one in inner)
    return Act(kind, _params(rng, kind), during)


def _params(rng: random.Random, kind: str) -> dict[str, Any]:
    queue = rng.choice(QUEUES)
    match kind:
        case "push":
            task = rng.choice(TASKS)
            return {
                "task": task,
                "queue": queue,
                "number": rng.choice((1, 5, 20, 60, 60, 300)),
                "seconds": rng.choice((0.005, 0.005, 0.05)) if task in ("sample.short", "sample.late") else 0,
                "countdown": rng.choice((0, 0, 0, 2)),
                "priority": rng.choice((0, 0, 3, 9)),
                "tenant": rng.choice(("", *TENANTS)),
            }
        case "push_chains":
            return {"queue": queue, "number": rng.choice((1, 3, 10)), "length": rng.choice((2, 3, 5))}
        case "limit":
            return {"task": rng.choice(LIMITED), "most": rng.choice((1, 2, 4))}
        case "unlimit":
            return {"task": rng.choice(LIMITED)}
        case "cancel_workflow":
            return {"pick": rng.randrange(1000)}
        case "upgrade_console":
            return {"build": rng.choice(BUILDS)}
        case "pause" | "resume":
            return {"queue": rng.choice((None, *QUEUES))}
        case "hold" | "release" | "clear_held":
            return {"task": rng.choice(HOLDABLE)}
        case "hold_tenant" | "release_tenant" | "clear_tenant":
            return {"tenant": rng.choice(TENANTS)}
        case "clear":
            return {"queue": queue, "everything": rng.random() < 0.2}
        case "clear_tasks":
            return {"queue": queue, "task": rng.choice(TASKS)}
        case "restore" | "delete_trash":
            return {"pick": rng.randrange(1000)}
        case "sync":
            return {"remove_orphans": rng.random() < 0.5}
        case "change_tenants":
            return {
                "tenant": f"{rng.choice(TENANTS)}{rng.randrange(8)}",
                "how": rng.choice(("add", "change", "remove")),
            }
        case "start_worker":
            return {"slot": rng.randrange(WORKERS), "build": rng.choice(BUILDS)}
        case "stop_worker" | "kill_worker":
            return {"slot": rng.randrange(WORKERS)}
        case "restart_broker" | "restart_database":
            return {"how": rng.choice(("stop", "kill"))} if kind == "restart_broker" else {"how": "stop"}
        case "cut_workers" | "cut_console" | "freeze_broker" | "freeze_database":
            return {"seconds": rng.choice((0.2, 1.0, 3.0))}
        case _ if kind in AMID:
            victim = rng.choice(VICTIMS)
            after = {"after_ms": rng.choice((0, 2, 5, 10, 20, 50))}
            if rng.random() < 0.5:
                after = {"after_trips": rng.choice((1, 2, 3, 4, 5, 6, 8, 11, 15, 20))}
            return {"amid": {"act": victim, **_params(rng, victim)}, **after}
        case "step_clock":
            return {"seconds": rng.choice(CLOCKS_S)}
    return {}
