"""Everything a page shows, read once: ``ops.snapshot()``, and what people ask Redis and Celery for today.

Twenty queues with 100,000 messages over four priorities, fifty workers that report (SIMULATED: their hashes are written
once), two real workers that answer ``inspect()``, 1,000 tenants, 500 entries in the audit log.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from stage import client, server
from support.sample_app import make_app
from support.workers import eventually, worker

import opsdash
from opsdash.keys import Keys
from opsdash.model.key_layout import Layout
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_log, tenant_config
from opsdash.worker.gate import READY

QUEUES = tuple(f"queue-{at:02}" for at in range(20))
MESSAGES, WORKERS, TENANTS, ENTRIES = 100_000, 50, 1_000, 500
MESSAGE = "x" * 921
OWN, LENGTHS, ASKED = "opsdash, ops.snapshot()", "LLEN of each list, one by one", "inspect() stats, active and reserved"
TODAY = "both: what people do today"


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds per read of everything."""
    figures: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        store = stack.enter_context(client(broker))
        url = f"sqlite:///{broker.home / 'bench.sqlite3'}"
        migrations.upgrade(url)
        ops = stack.enter_context(
            contextlib.closing(opsdash.connect(redis_url=broker.url, database_url=url, queues=QUEUES))
        )
        fill(ops, store)
        app = stack.enter_context(contextlib.closing(make_app(broker.url)))
        env = {"OPSDASH_REDIS_URL": broker.url}
        for pool in ("prefork", "threads"):
            stack.enter_context(worker(pool=pool, env=env))
        eventually(lambda: len(ops.get_active_workers()) == WORKERS + 2, what="all workers report")
        lists = [key for queue in QUEUES for key in Layout().lists(queue).values()]

        def ask() -> int:
            inspect = app.control.inspect()
            return len(inspect.stats() or ()) + len(inspect.active() or ()) + len(inspect.reserved() or ())

        ways: dict[str, tuple[Callable[[], int], int]] = {
            OWN: (lambda: waiting(ops), MESSAGES),
            LENGTHS: (lambda: sum(store.llen(name) for name in lists), MESSAGES),
            ASKED: (ask, 2 * 3),
        }
        for _ in range(3 if quick else 30):
            report(store)  # an old report is an offline worker
            for name, (read, expected) in ways.items():
                began = time.perf_counter()
                found = read()
                figures.setdefault(name, []).append((time.perf_counter() - began) * 1_000)
                if found != expected:
                    raise RuntimeError(f"{name} found {found}, not {expected}")
            figures.setdefault(TODAY, []).append(figures[LENGTHS][-1] + figures[ASKED][-1])
    pairs = {f"{name} / opsdash": (name, OWN) for name in (LENGTHS, ASKED, TODAY)}
    return figures, pairs, "ms"


def waiting(ops: Any) -> int:
    """A snapshot, in which nothing is missing."""
    snapshot = ops.snapshot()
    online = sum(found.state == "online" for found in snapshot.workers)
    if (online, len(snapshot.operations), snapshot.tenants) != (WORKERS + 2, 20, TENANTS):
        raise RuntimeError(f"{online} workers online, {snapshot.redis_error} {snapshot.database_error}")
    return sum(queue.waiting for queue in snapshot.queues)


def fill(ops: Any, store: Any) -> None:
    """Messages, reports, tenants and entries."""
    share = MESSAGES // len(QUEUES) // len(Layout().priority_steps)
    for queue in QUEUES:
        for key in Layout().lists(queue).values():
            store.rpush(key, *[MESSAGE] * share)
    report(store)
    tenants = [{"tenant_id": f"t{at}", "name": "T", "enabled": True, "settings": {}} for at in range(TENANTS)]
    now = datetime.now(UTC)
    entries = [
        {
            "id": uuid4(), "request_id": uuid4(), "timestamp": now, "user": "bench", "operation": "pause_processing",
            "details": {"message": "Paused"}, "status": "success", "finished_at": now,
        }
        for _ in range(ENTRIES)
    ]  # fmt: skip
    with database.transaction(ops.engine) as connection:
        connection.execute(sa.insert(tenant_config), tenants)
        connection.execute(sa.insert(audit_log), entries)
    ops.run(opsdash.SyncTenantConfigs(), actor="bench", confirm="YES")


def report(store: Any) -> None:
    """What fifty workers push every few seconds."""
    keys, now = Keys(), time.time()
    with store.pipeline(transaction=False) as pipe:
        for number in range(WORKERS):
            hostname = f"simulated-{number}@bench"
            pushed = {
                "time": now, "loop_tick": now, "pid": number, "uptime_s": 1, "processed": 9, "active": 1,
                "reserved": 4, "scheduled": 0, "concurrency": 4, "pool": "prefork", "memory_bytes": 1,
                "queues": json.dumps(QUEUES[:2]), "paused": 0, "paused_queues": "[]",
                "epoch": 0, "pausing": READY, "version": "", "started": "{}",
            }  # fmt: skip
            pipe.hset(keys.worker(hostname), mapping=pushed)
            pipe.zadd(keys.workers, {hostname: now})
        pipe.execute()
