"""A workflow whose tasks are scattered among many others: taken out, put back, and how long others wait meanwhile."""

from __future__ import annotations

import time

from bench_clear import timed
from bench_find_task import fill
from stage import server
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.queues.remove_tasks import Bin, take
from opsdash.services.queues.workflow_trash import WorkflowTrash

ROOT = "root-of-the-workflow"


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds of each, and the longest PING of another client meanwhile."""
    messages, tasks, rounds = (60_000, 600, 2) if quick else (600_000, 3_000, 3)  # half of them in one list
    figures: dict[str, list[float]] = {}
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
                took_ms, stall_ms = timed(act, broker)
                what = f"opsdash {name} {tasks:,} of {waiting:,}"
                figures.setdefault(what, []).append(took_ms)
                figures.setdefault(f"{what}, longest stall", []).append(stall_ms)
            if broker.client.lrange(key, 0, -1) != before:
                raise RuntimeError("the order is another one")
        broker.client.close()
    return figures, {}, "ms"
