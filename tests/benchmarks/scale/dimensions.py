"""What grows, one thing at a time, and what is measured at each size."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from stage import cpu_s
from support import services
from support.programs import leashed

import opsdash
from opsdash.services.audit.query import Filter
from opsdash.services.console import Console
from opsdash.services.database import engine as database

from .curves import medians
from .deployment import Deployment, resident_mb

Point = tuple[int, dict[str, float]]
QUEUES, WORKERS = 20, 20
"""Of what does not grow."""
LIVE = 500
"""Light workers at most: a machine of two cores has no room for more beside what is measured."""


@dataclass(frozen=True)
class Dimension:
    """One thing that grows.

    Attributes:
        run: Gives size and figures, the smallest size first.
        sizes: Of the whole run. ``quick``: of one that takes seconds.
    """

    run: Callable[[Sequence[int]], Iterator[Point]]
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    about: str


def workers(sizes: Sequence[int]) -> Iterator[Point]:
    """Workers that report, on 20 queues; above `LIVE` the rest are copies, and no pause is measured."""
    for size in sizes:
        with contextlib.ExitStack() as stack:
            stage = Deployment(stack)
            stage.gather(size if size <= LIVE else 1, QUEUES, 3)
            if size > LIVE:
                services.until(lambda stage=stage: bool(stage.hosts))
                stage.copy(size - 1, QUEUES, 3)
            stage.serve()
            figures = stage.snapshot()
            if size <= LIVE:
                figures |= medians([stage.pause(size) for _ in range(2)])
            with stage.still():
                figures |= stage.scrape("list of workers, ms", "/api/v1/workers")
            yield size, figures | stage.scrape() | stage.status() | stage.served()


def queues(sizes: Sequence[int]) -> Iterator[Point]:
    """Queues with 100 messages each, of which each has two of 20 workers."""
    for size in sizes:
        with contextlib.ExitStack() as stack:
            stage = Deployment(stack, QUEUES=",".join(f"queue{n:03}" for n in range(size)))
            stage.gather(WORKERS, size, max(1, size * 2 // WORKERS))
            stage.ops.run(opsdash.PauseProcessing(reason="filling"), actor="scale", confirm="YES")
            for n in range(size):
                fill(stage, f"queue{n:03}", 100)
            stage.serve()
            figures = stage.snapshot() | stage.scrape("list of queues, ms", "/api/v1/queues")
            yield size, figures | stage.scrape() | stage.status() | stage.served()


def messages(sizes: Sequence[int]) -> Iterator[Point]:
    """Messages of some 270 bytes in one queue, which nobody takes."""
    with contextlib.ExitStack() as stack:
        stage = Deployment(stack, QUEUES="celery")
        there = 0
        for size in sizes:
            fill(stage, "celery", size - there)
            there = size
            stage.serve()
            stage.ops.snapshot()
            figures = stage.measured("snapshot", stage.ops.snapshot)
            act = partial(stage.ops.run, opsdash.PauseProcessing(reason="scale"), actor="scale", confirm="YES")
            preview = partial(stage.ops.preview, opsdash.ClearQueue(queue="celery"))
            figures |= stage.measured("pause, the call", act)
            figures |= stage.measured("preview of a clear", preview)
            figures |= stage.scrape("list of tasks, ms", "/api/v1/tasks?queue=celery&limit=50")
            figures |= stage.scrape() | stage.status() | stage.served()
            yield size, figures | {"Redis's memory, MB": stage.store.info("memory")["used_memory"] / 1e6}


def tenants(sizes: Sequence[int]) -> Iterator[Point]:
    """Rows of the tenants' table in PostgreSQL, synced to Redis."""
    with contextlib.ExitStack() as stack:
        stage = Deployment(stack, postgres=True)
        there = 0
        for size in sizes:
            execute(stage, TENANTS, first=there + 1, last=size)
            execute(stage, "ANALYZE tenant_config")
            there = size
            sync = partial(stage.ops.run, opsdash.SyncTenantConfigs(), actor="scale", confirm="YES")
            figures = stage.measured("sync of the new", sync, 1) | stage.measured("sync, nothing changed", sync, 1)
            stage.ops.snapshot()
            figures |= stage.measured("snapshot", stage.ops.snapshot)
            figures |= stage.scrape("list of tenants, ms", "/api/v1/tenants")
            yield size, figures | stage.scrape() | stage.status() | stage.served()


def log(sizes: Sequence[int]) -> Iterator[Point]:
    """Entries of the audit log in PostgreSQL, made by SQL and so without seals."""
    with contextlib.ExitStack() as stack:
        stage = Deployment(stack, postgres=True)
        there = 0
        for size in sizes:
            with bare_table(stage, size - there >= 500_000):
                execute(stage, ENTRIES, first=there + 1, last=size)
            there = size
            with stage.ops.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("SET statement_timeout = 0"))
                connection.execute(sa.text("VACUUM ANALYZE audit_log"))
            stage.ops.snapshot()
            figures = stage.measured("snapshot", stage.ops.snapshot)
            for name, chosen, after in listed(stage.ops):
                read = partial(stage.ops.audit.page, chosen, limit=50, after=after)
                figures |= {kind: one for kind, one in stage.measured(name, read, 20).items() if "Redis" not in kind}
            act = partial(stage.ops.run, opsdash.ResumeProcessing(), actor="scale", confirm="YES")
            figures |= stage.measured("an act", act)
            with stage.ops.engine.connect() as connection:
                size_of = connection.scalar(sa.text("SELECT pg_total_relation_size('audit_log')"))
            figures["its table and indexes, MB"] = size_of / 1e6
            yield size, figures | stage.scrape() | stage.status() | stage.served()


def listed(ops: Console) -> list[tuple[str, Filter, str | None]]:
    """Pages of the log: name, filter, and after what it begins."""
    deep = ops.audit.page(Filter(until=datetime.now(UTC) - timedelta(hours=12)), limit=50).after
    return [
        ("list of the log", Filter(), None),
        ("list, of one user's refused", Filter(user="user 7", status="refused"), None),
        ("list, deep in it", Filter(), deep),
    ]


def pages(sizes: Sequence[int]) -> Iterator[Point]:
    """Open pages, each with its websocket, of a console with 20 workers and 20 queues."""
    yield from watched(sizes, WORKERS, QUEUES)


def watched(sizes: Sequence[int], number: int, queues_: int) -> Iterator[Point]:
    """The same with so many workers and queues."""
    for size in sizes:
        with contextlib.ExitStack() as stack:
            stage = Deployment(stack, QUEUES=",".join(f"queue{n:03}" for n in range(queues_)))
            stage.gather(min(number, WORKERS), queues_, 3)
            if number > WORKERS:
                stage.copy(number - WORKERS, queues_, 3)
            pid = stage.serve()
            alone_mb = resident_mb(pid)
            command = leashed([sys.executable, "-m", "benchmarks.scale.viewers", str(stage.port), str(size)])
            viewers = stage.start(command, stdout=subprocess.PIPE, text=True)
            opened = [float(viewers.stdout.readline()) for _ in range(size)]
            wait_s = 4.0  # two readings of the poller, which is what is watched
            time.sleep(wait_s)  # until readings come as they will
            busy_s, redis_ms, began = cpu_s(pid), stage.redis_ms(), time.perf_counter()
            figures = stage.scrape("an answer beside them, ms", "/healthz")
            time.sleep(2 * wait_s)  # so long it is watched
            took_s = time.perf_counter() - began
            figures |= {
                "console's processor, % of a core": (cpu_s(pid) - busy_s) / took_s * 100,
                "Redis's processor, % of a core": (stage.redis_ms() - redis_ms) / took_s / 10,
            }
            figures |= {
                "page until its document is there, ms": sorted(opened)[len(opened) // 2],
                "console's memory, MB": resident_mb(pid),
                "console's memory before, MB": alone_mb,
            }
            yield size, figures | stage.scrape() | stage.status(1)


def fill(stage: Deployment, queue: str, number: int) -> None:
    """Has so many more messages wait, made in Redis."""
    script, at_once = stage.store.register_script(FILL), 100_000
    for start in range(0, number, at_once):
        script([queue], [min(at_once, number - start), start, MESSAGE])


def execute(stage: Deployment, statement: str, **values: Any) -> None:
    """In the database, for as long as it takes."""
    with database.transaction(stage.ops.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text(statement), values)


@contextlib.contextmanager
def bare_table(stage: Deployment, much: bool) -> Iterator[None]:
    """The log's table without its indexes, where much is written: they are made anew afterwards."""
    if not much:
        yield
        return
    with stage.ops.engine.connect() as connection:
        made = connection.execute(sa.text(INDEXES)).scalars().all()
        names = connection.execute(sa.text(INDEXES.replace("indexdef", "indexname"))).scalars().all()
    for name in names:
        execute(stage, f'DROP INDEX "{name}"')
    yield
    for statement in made:
        execute(stage, statement)


MESSAGE = (
    '{"body":"W1tdLHt9LHt9XQ==","content-encoding":"utf-8","content-type":"application/json",'
    '"headers":{"task":"shop.tasks.send","id":"ID","lang":"py"},"properties":{"delivery_tag":"ID","body_encoding":"base64"}}'
)
FILL = """for at = 1, tonumber(ARGV[1]) do
    local id = string.format('%08d-0000-4000-8000-000000000000', ARGV[2] + at)
    redis.call('LPUSH', KEYS[1], (string.gsub(ARGV[3], 'ID', id)))
end"""
TENANTS = """INSERT INTO tenant_config (tenant_id, name, enabled, settings)
SELECT 'tenant-' || n, 'Tenant ' || n, true, '{"plan": "gold", "limit": 100}' FROM generate_series(:first, :last) n"""
ENTRIES = """
INSERT INTO audit_log (id, timestamp, "user", operation, details, status, request_id, finished_at)
SELECT gen_random_uuid(), now() - n * interval '10 seconds', 'user ' || n % 40,
       CASE WHEN n % 50 = 0 THEN 'sync_tenant_configs' ELSE 'clear_queue' END,
       '{"params": {"queue": "emails"}, "surface": "page", "message": "Cleared 12 tasks from emails.", "affected": 12}',
       CASE WHEN n % 29 = 0 THEN 'refused' ELSE 'success' END, gen_random_uuid(), now() - n * interval '10 seconds'
FROM generate_series(:first, :last) n"""
INDEXES = (
    """SELECT indexdef FROM pg_indexes WHERE tablename = 'audit_log' AND indexname LIKE 'ix_%' ORDER BY indexname"""
)
DIMENSIONS = {
    "workers": Dimension(workers, (10, 30, 100, 300, 1_000, 2_000), (1, 2), "on 20 queues, each worker on three"),
    "queues": Dimension(queues, (2, 6, 20, 60, 200), (2, 4), "with 100 messages each and 20 workers"),
    "messages": Dimension(
        messages, (1_000, 10_000, 100_000, 1_000_000, 10_000_000), (100, 300), "of some 270 bytes, in one queue"
    ),
    "tenants": Dimension(tenants, (1_000, 10_000, 100_000, 1_000_000), (100, 300), "in PostgreSQL"),
    "log entries": Dimension(
        log, (10_000, 100_000, 1_000_000, 10_000_000), (100, 300), "in PostgreSQL, made by SQL, not sealed"
    ),
    "open pages": Dimension(pages, (1, 3, 10, 30, 100), (1, 2), "of a console with 20 workers and 20 queues"),
}
