"""The audit log on a durable PostgreSQL: acts a second, verifying all of it, and pages of a long one.

What one would write instead: the act and a bare ``INSERT`` after it (no intent, no seal), reading all rows without
checking them, and pages by ``OFFSET``.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from support import services

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.model import AuditEntry, Status
from opsdash.services.audit import query as audit_reading
from opsdash.services.audit import verify as audit_verify
from opsdash.services.audit.chain import ChainSigner, _fields, covered, seal_of
from opsdash.services.audit.query import Filter
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_head

SECRET = "a-key-for-benchmarks-and-nothing-else"
PROCESSES = 4
PAGE = 50
FILTERS = {
    "page 1": Filter(),
    "page 1 of a user's": Filter(user="user 7"),
    "page 1 of an operation's": Filter(operation="sync_tenant_configs"),
    "page 1 of an outcome's": Filter(status="refused"),
    "page 1 of a user's refused": Filter(user="user 7", status="refused"),
    "page 1 of one day": Filter(
        since=datetime.now(UTC) - timedelta(days=9), until=datetime.now(UTC) - timedelta(days=8)
    ),
}


class Durable(services.Postgres):
    """As in production: what is committed is on the disk."""

    def _command(self) -> list[str]:
        durable = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "256MB"}
        return [*super()._command(), *(part for item in durable.items() for part in ("-c", "=".join(item)))]


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Acts a second, seconds of a verification, milliseconds of a page."""
    figures: dict[str, list[float]] = {}
    with services.folder() as home, services.folder() as data:
        broker, server = services.Valkey(home), Durable(data)
        broker.start()
        server.start()
        acts(figures, broker.url, server, *((3, 50) if quick else (7, 200)))
        verification(figures, server, 50_000 if quick else 1_000_000, 3)
        pages(figures, server, 200_000 if quick else 5_000_000, 20 if quick else 100)
        broker.kill()
        server.kill()
    unit = {
        name: "acts/s" if "acts" in name else "s" if name.startswith(("verify", "read")) else "ms" for name in figures
    }
    verify, read = (next(name for name in figures if name.startswith(word)) for word in ("verify", "read"))
    pairs = {
        "opsdash / bare INSERT": ("opsdash, acts of 4 processes", "bare INSERT, acts of 4 processes"),
        "verify / read only": (verify, read),
        "OFFSET / keyset": ("a page deep in it, by OFFSET", "a page deep in it, by keyset"),
    }
    return figures, pairs, unit


ACTS = """
import sys, time, uuid
from datetime import UTC, datetime
import sqlalchemy as sa
import opsdash
from opsdash.model import Actor, Role
from opsdash.operation import Act
from opsdash.services.database.tables import audit_log
console, way, number = opsdash.connect(), sys.argv[1], int(sys.argv[2])
maria, operation = Actor(name="maria", role=Role.ADMIN), opsdash.ResumeProcessing()

def bare():
    effect = operation.execute(console.services, Act(actor=maria, audit_id=uuid.uuid4()))
    now = datetime.now(UTC)
    row = {"id": uuid.uuid4(), "request_id": uuid.uuid4(), "timestamp": now, "finished_at": now, "user": "maria",
           "operation": operation.name, "status": "success", "details": {"message": effect.message}}
    with console.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), row)

act = bare if way == "bare INSERT" else lambda: console.run(operation, actor=maria, confirm="YES")
act()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(number):
    act()
print("done", flush=True)
console.close()
"""


def acts(figures: dict[str, list[float]], redis_url: str, server: Durable, rounds: int, number: int) -> None:
    """By turns each way."""
    for _ in range(rounds):
        for way in ("opsdash", "bare INSERT"):
            figures.setdefault(f"{way}, acts of 4 processes", []).append(acts_per_s(way, redis_url, server, number))


def acts_per_s(way: str, redis_url: str, server: Durable, number: int) -> float:
    """Four processes act as fast as they can, each so many times, on a fresh database."""
    url = server.create()
    migrations.upgrade(url)
    env = {
        **os.environ,
        "OPSDASH_REDIS_URL": redis_url,
        "OPSDASH_DATABASE_URL": url,
        "OPSDASH_SECRET_KEY": SECRET,
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ACTS, way, str(number)],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    for process in running:
        process.stdout.readline()
    started = time.perf_counter()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.close()
    lines = [process.stdout.readline() for process in running]
    took_s = time.perf_counter() - started
    if lines != ["done\n"] * PROCESSES or sum(process.wait(60) for process in running):
        raise RuntimeError("an act failed")
    for process in running:
        process.stdout.close()
    if way == "opsdash":
        check(redis_url, url, PROCESSES * (number + 1))
    server.drop(url)
    return PROCESSES * number / took_s


def check(redis_url: str, url: str, number: int) -> None:
    """The figure counts only if all of it is there and whole."""
    console = assemble(Settings.from_env({}, redis_url=redis_url, database_url=url, secret_key=SECRET))
    found, spooled = console.audit.verify(), console.audit.outbox_length()
    console.close()
    if not found.ok or found.checked != number or spooled:
        raise RuntimeError(f"{found.message} {spooled} spooled, expected {number}")


def verification(figures: dict[str, list[float]], server: Durable, number: int, rounds: int) -> None:
    """Walks a chain of so many entries; by turns, reads them only."""
    engine = fresh(server)
    signer = ChainSigner(SECRET.encode)
    fill_sealed(engine, signer, number)
    for _ in range(rounds):
        started = time.perf_counter()
        found = audit_verify.verify(engine, signer)
        figures.setdefault(f"verify {number:,} entries", []).append(time.perf_counter() - started)
        if not found.ok or found.checked != number:
            raise RuntimeError(found.message)
        started = time.perf_counter()
        for _entry in audit_reading.entries(engine):
            pass
        figures.setdefault(f"read {number:,} entries, unchecked", []).append(time.perf_counter() - started)
    engine.dispose()
    server.drop(engine.url.set(query={}).render_as_string(hide_password=False))


def fill_sealed(engine: sa.Engine, signer: ChainSigner, number: int) -> None:
    """A chain of so many entries, sealed as opsdash seals them, by COPY."""
    rows = io.StringIO()
    out, last = csv.writer(rows), ("", 0)
    connection = engine.raw_connection()
    for seal, seq, cells in sealed_rows(signer, number):
        last = seal, seq
        out.writerow(cells)
        if seq % 50_000 == 0 or seq == number:
            rows.seek(0)
            connection.cursor().copy_expert(COPY, rows)
            rows.seek(0)
            rows.truncate()
    connection.commit()
    connection.close()
    with engine.begin() as writing:
        writing.execute(sa.update(audit_head).values(seq=last[1], seal=last[0]))
        writing.execute(sa.text("ANALYZE audit_log"))


def sealed_rows(signer: ChainSigner, number: int) -> Iterator[tuple[str, int, tuple[Any, ...]]]:
    """Seal, number and cells of each row."""
    key_id, key = signer.key()
    seal, start = "", datetime.now(UTC) - timedelta(seconds=number)
    details = {"params": {"queue": "emails"}, "surface": "page", "client": "10.1.2.3", "took_s": 0.004}
    details |= {"previewed": {"waiting": 12}, "message": "Cleared 12 tasks from emails.", "affected": 12}
    text = json.dumps(details)
    for seq in range(1, number + 1):
        at = start + timedelta(seconds=seq)
        entry = AuditEntry(
            id=uuid4(),
            timestamp=at,
            user="maria",
            operation="clear_queue",
            status=Status.SUCCESS,
            details=details,
            request_id=uuid4(),
            finished_at=at,
            seq=seq,
            key_id=key_id,
        )
        seal = seal_of(key, seal, covered(_fields(entry)))
        yield (
            seal,
            seq,
            (entry.id, at, "maria", "clear_queue", text, "success", entry.request_id, at, seq, key_id, seal),
        )


COPY = """COPY audit_log (id, timestamp, "user", operation, details, status, request_id, finished_at, seq, key_id, seal)
FROM STDIN WITH (FORMAT csv)"""


def pages(figures: dict[str, list[float]], server: Durable, number: int, rounds: int) -> None:
    """Page 1 of a long log, unfiltered and filtered, and a page deep in it."""
    engine = fresh(server)
    with engine.begin() as connection:
        connection.execute(sa.text(MANY), {"number": number})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE audit_log"))
    deep = number // 2
    with engine.connect() as connection:
        row = connection.execute(audit_reading.newest_first().offset(deep - 1).limit(1)).one()
    after = f"{row.timestamp.isoformat()}~{row.id}"
    ways: dict[str, Callable[[], int]] = {
        name: lambda chosen=chosen: len(audit_reading.page(engine, chosen, limit=PAGE).entries)
        for name, chosen in FILTERS.items()
    }
    ways["a page deep in it, by keyset"] = lambda: len(audit_reading.page(engine, limit=PAGE, after=after).entries)
    ways["a page deep in it, by OFFSET"] = lambda: by_offset(engine, deep)
    for _ in range(rounds):
        for name, read in ways.items():
            started = time.perf_counter()
            found = read()
            figures.setdefault(name, []).append((time.perf_counter() - started) * 1_000)
            if found != PAGE:
                raise RuntimeError(f"{name}: {found} of {PAGE}")
    engine.dispose()


def by_offset(engine: sa.Engine, start: int) -> int:
    """A page as most would read it."""
    with engine.connect() as connection:
        rows = connection.execute(audit_reading.newest_first().offset(start).limit(PAGE)).all()
    return len([audit_reading.entry_of_row(row) for row in rows])


def fresh(server: Durable) -> sa.Engine:
    """An engine on a new, migrated database, whose statements may take as long as they do."""
    url = server.create()
    migrations.upgrade(url)
    return database.connect(f"{url}?options=-c%20statement_timeout%3D0")


MANY = """
INSERT INTO audit_log (id, timestamp, "user", operation, details, status, request_id, finished_at)
SELECT gen_random_uuid(), now() - n * interval '10 seconds', 'user ' || n % 40,
       CASE WHEN n % 50 = 0 THEN 'sync_tenant_configs' ELSE 'clear_queue' END,
       '{"params": {"queue": "emails"}, "surface": "page", "message": "Cleared 12 tasks from emails.", "affected": 12}',
       CASE WHEN n % 29 = 0 THEN 'refused' ELSE 'success' END, gen_random_uuid(), now() - n * interval '10 seconds'
FROM generate_series(1, :number) n
"""
