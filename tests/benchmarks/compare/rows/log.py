"""The audit log and the tenants, on PostgreSQL."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import bench_tenants
import psycopg2
import redis
import sqlalchemy as sa
from bench_audit import MANY, PAGE, SECRET, Durable, acts_per_s, by_offset, fill_sealed, fresh
from support import services

from opsdash.services.audit import query as audit_reading
from opsdash.services.audit import verify as audit_verify
from opsdash.services.audit.chain import ChainSigner

from ..work import Bench, Contestant, Figure, Found, _Killed, does_not, limit, ms, own, work

NOBODY = ("Celery", "Flower", "RQ", "rq-dashboard", "Dramatiq", "Taskiq", "Huey")
ROWS = "SELECT * FROM audit_log ORDER BY timestamp DESC, id DESC"


def postgres(bench: Bench, kind: type[services.Postgres] = Durable) -> Any:
    """A server of its own; what is committed is on the disk unless another kind is asked for."""
    made = kind(bench.enter(services.folder()))
    made.start()
    bench.enter(contextlib.closing(_Killed(made)))
    return made


def bare(url: sa.URL) -> Any:
    """A connection of psycopg2 itself."""
    return psycopg2.connect(url.set(drivername="postgresql", query={}).render_as_string(hide_password=False))


@work(
    Figure("audit-append", "acts of four processes with their audit entries, committed to the disk", "1/s", more=True)
)
def audit_append(bench: Bench) -> list[Contestant]:
    """Opsdash writes an intent, acts, writes the outcome and signs both; the bare way acts and writes one row."""
    broker, server, number = bench.broker(), postgres(bench), bench.size(150, 10)

    def by(way: str) -> Callable[[], Found]:
        return lambda: {"audit-append": acts_per_s(way, broker.url, server, number)}

    return [
        own("opsdash", "intent and outcome, signed", by("opsdash")),
        *does_not(*NOBODY),
        limit("the act and a bare `INSERT`", by("bare INSERT")),
    ]


@work(
    Figure("audit-page", "the newest 50 of 500,000 entries", "ms"),
    Figure("audit-page-deep", "50 entries in their middle", "ms"),
    warm=True,
)
def audit_page(bench: Bench) -> list[Contestant]:
    """By keyset; a page far behind costs what the first one does."""
    number = bench.size(500_000, 20_000)
    engine = fresh(postgres(bench))
    bench.enter(contextlib.closing(_Disposed(engine)))
    with engine.begin() as connection:
        connection.execute(sa.text(MANY), {"number": number})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE audit_log"))
    with engine.connect() as connection:
        row = connection.execute(audit_reading.newest_first().offset(number // 2 - 1).limit(1)).one()
    after, raw = f"{row.timestamp.isoformat()}~{row.id}", bench.enter(contextlib.closing(bare(engine.url)))

    def whole(read: Callable[[], int]) -> float:
        seen: list[int] = []
        took = ms(lambda: seen.append(read()))
        if seen != [PAGE]:
            raise RuntimeError(f"{seen} entries")
        return took

    def page(**more: str) -> float:
        return whole(lambda: len(audit_reading.page(engine, limit=PAGE, **more).entries))

    def select(where: str, *values: Any) -> float:
        def read() -> int:
            with raw.cursor() as cursor:
                cursor.execute(ROWS.replace(" ORDER", f" {where} ORDER") + f" LIMIT {PAGE}", values)
                found = len(cursor.fetchall())
            raw.rollback()
            return found

        return whole(read)

    deep = "WHERE (timestamp, id) < (%s, %s)"
    return [
        own("opsdash", "", lambda: {"audit-page": page(), "audit-page-deep": page(after=after)}),
        Contestant(
            "a script",
            "rival",
            "`OFFSET`",
            lambda: {"audit-page-deep": whole(lambda: by_offset(engine, number // 2))},
        ),
        *does_not(*NOBODY),
        limit(
            "bare `SELECT`",
            lambda: {
                "audit-page": select(""),
                "audit-page-deep": select(deep, row.timestamp, str(row.id)),
            },
        ),
    ]


class _Disposed:
    def __init__(self, engine: sa.Engine) -> None:
        self.close = engine.dispose


@work(Figure("audit-verify", "entries of a signed chain verified, 100,000 in all", "1/s", more=True))
def audit_verification(bench: Bench) -> list[Contestant]:
    """Every entry is read and its HMAC made again."""
    number = bench.size(100_000, 5_000)
    engine, signer = fresh(postgres(bench)), ChainSigner(SECRET.encode)
    bench.enter(contextlib.closing(_Disposed(engine)))
    fill_sealed(engine, signer, number)
    raw = bench.enter(contextlib.closing(bare(engine.url)))

    def verified() -> Found:
        seen: list[Any] = []
        took_ms = ms(lambda: seen.append(audit_verify.verify(engine, signer)))
        if not seen[0].ok or seen[0].checked != number:
            raise RuntimeError(seen[0].message)
        return {"audit-verify": number / took_ms * 1_000}

    def read_only() -> Found:
        def read() -> None:
            with raw.cursor("all") as cursor:
                cursor.itersize = 2_000
                cursor.execute("SELECT * FROM audit_log ORDER BY seq")
                if sum(1 for _ in cursor) != number:
                    raise RuntimeError("entries are missing")
            raw.rollback()

        return {"audit-verify": number / ms(read) * 1_000}

    return [
        own("opsdash", "", verified),
        *does_not(*NOBODY),
        limit("bare `SELECT` of all, nothing checked", read_only),
    ]


@work(
    Figure("tenants-first", "100,000 tenants from PostgreSQL to Redis, none there yet", "ms"),
    Figure("tenants-again", "the same, nothing has changed", "ms"),
)
def tenants(bench: Bench) -> list[Contestant]:
    """Opsdash redacts secrets and writes what has changed; each measurement has a process of its own."""
    number, broker, server = bench.size(100_000, 5_000), bench.broker(), postgres(bench, services.Postgres)
    url = server.create()
    bench_tenants.fill(url, number)

    def by(way: Callable[..., Callable[[], None]], *, again: bool) -> Callable[[], Found]:
        def once() -> Found:
            broker.flush()
            found = {"tenants-first": bench_tenants.in_a_child(way, broker.url, url, number)[0]}
            if again:
                found["tenants-again"] = bench_tenants.in_a_child(way, broker.url, url, 0)[0]
            return found

        return once

    def every_time(way: Callable[..., Callable[[], None]]) -> Callable[[], Found]:
        once = by(way, again=False)
        return lambda: {"tenants-first": (found := once()["tenants-first"]), "tenants-again": found}

    return [
        own("opsdash", "redacted, audited", by(bench_tenants.sync, again=True)),
        Contestant(
            "a script", "rival", "`SELECT` all, one `SET` each, secrets too", every_time(bench_tenants.row_by_row)
        ),
        *does_not(*NOBODY),
        limit("bare `COPY`, one pipeline of `SET` of the rows as they are", every_time(copied)),
    ]


def copied(redis_url: str, database_url: str, expected: int) -> Callable[[], None]:
    """The rows' text, as PostgreSQL writes it, into Redis; nobody reads it on its way."""
    raw, client = bare(sa.make_url(database_url)), redis.Redis.from_url(redis_url)
    client.ping()

    def run() -> None:
        rows = io.BytesIO()
        with raw.cursor() as cursor:
            cursor.copy_expert("COPY tenant_config TO STDOUT", rows)
        rows.seek(0)
        with client.pipeline(transaction=False) as pipe:
            for at, line in enumerate(rows, 1):
                pipe.set(b"tenant_config:" + line.partition(b"\t")[0], line)
                if at % 5_000 == 0:
                    pipe.execute()
            pipe.execute()
        if client.dbsize() != expected:
            raise RuntimeError(f"{client.dbsize()} written, not {expected}")

    return run
