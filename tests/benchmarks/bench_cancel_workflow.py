"""A workflow whose tasks are scattered among many others: taken out, put back, and how long others wait meanwhile.

They wait for the longest command, of which Redis itself keeps account: a PING's time has that of a busy machine in it
too. One task from the middle of a long list, and larger messages, are looked at as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from bench_find_task import fill
from stage import server
from stall import timed
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.queues.remove_task import remove
from opsdash.services.queues.remove_tasks import Bin, take
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.workflow_trash import WorkflowTrash

ROOT = "root-of-the-workflow"


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Milliseconds of each, its longest command, and the longest PING of another client meanwhile."""
    messages, tasks, rounds = (60_000, 600, 2) if quick else (600_000, 3_000, 3)  # half of them in one list
    figures: dict[str, list[float]] = {}

    def note(url: str, what: str, act: Callable[[], object]) -> None:
        took = timed(act, url)
        figures.setdefault(what, []).append(took.ms)
        figures.setdefault(f"{what}, longest command", []).append(took.command_ms)
        figures.setdefault(f"{what}, commands above 2 ms", []).append(took.slow)
        figures.setdefault(f"{what}, longest PING", []).append(took.stall_ms)

    with server() as made:
        broker = connect(Settings.from_env({}, redis_url=made.url, queues=("celery",)))
        broker.client.config_set("save", "")
        fill(broker, "celery", messages)
        key = broker.lists("celery")[0]
        waiting = messages // 2
        for at in range(0, waiting, waiting // tasks):
            broker.client.lset(key, at, message(root_id=ROOT, pad="x" * 300))
        before = broker.client.lrange(key, 0, -1)
        for round_ in range(rounds):
            until_s = int(time.time()) + 600
            into = Bin(id=f"bench-{round_}", root=ROOT, by="bench", at="", until_s=until_s, keep_s=600)

            def take_out(into: Bin = into) -> None:
                if take(broker, "celery", [ROOT], lambda raw: ROOT.encode() in raw, into) != tasks:
                    raise RuntimeError("some are left")

            def put_back(into: Bin = into) -> None:
                WorkflowTrash(broker).restore(into.id, by="bench")

            for name, act in {"takes out": take_out, "puts back": put_back}.items():
                note(made.url, f"opsdash {name} {tasks:,} of {waiting:,}", act)
            if broker.client.lrange(key, 0, -1) != before:
                raise RuntimeError("the order is another one")
        for pad in (200, 4_500):
            broker.client.flushall()
            text = message("x" * 36, pad="x" * pad)
            for _ in range(messages // 4_000):
                broker.client.rpush(key, *[text] * 2_000)
            for round_ in range(rounds):
                broker.client.lset(key, waiting // 2, message(f"one-{round_}"))
                ways = {
                    "removes": partial(
                        remove, broker, "celery", f"one-{round_}", by="x", keep_s=9, trash_id=f"{round_}"
                    ),
                    "puts back": partial(Trash(broker).restore, f"{round_}", by="x"),
                }
                for name, way in ways.items():
                    note(made.url, f"opsdash {name} one amid {waiting:,} of {len(text) / 1_000:.1f} kB", way)
                broker.client.lset(key, waiting // 2, text)
        broker.client.close()
    return figures, {}, {what: "" if what.endswith("above 2 ms") else "ms" for what in figures}
