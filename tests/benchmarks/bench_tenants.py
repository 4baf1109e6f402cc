"""100,000 tenants from PostgreSQL to Valkey: opsdash's sync, and the row-by-row way (SELECT all, one SET each).

Once with everything on one machine, where a round trip costs almost nothing, and once with Valkey behind a relay that
delays what passes: SIMULATED distance of two machines in one region.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa
from stage import server
from support import services

import opsdash
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import tenant_config

SECRET_KEY = "a-key-for-benchmarks-only"
FIRST, AGAIN, ROWS = "opsdash, first sync", "opsdash, nothing changed", "row by row"
FAR, GROWS, ANSWER = "far: ", ", process grows by", "far: one PING"
DELAY_S = 0.000_15
"""Of what passes the relay, each way; with what its own work costs, a round trip takes about half a millisecond."""


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Milliseconds of each way, and the megabytes that a process of its own grows by meanwhile."""
    tenants, rounds = (20_000, 2) if quick else (100_000, 3)
    figures: dict[str, list[float]] = {}
    with services.folder() as home, server() as broker, relay(broker.port) as far_url:
        postgres = services.Postgres(home)
        postgres.start()
        try:
            url = postgres.create()
            fill(url, tenants)
            for _ in range(rounds):
                for place, redis_url in (("", broker.url), (FAR, far_url)):
                    for name, way, empty in ((ROWS, row_by_row, True), (FIRST, sync, True), (AGAIN, sync, False)):
                        if empty:
                            broker.flush()
                        took_ms, grown_mb = in_a_child(way, redis_url, url, tenants if empty else 0)
                        figures.setdefault(f"{place}{name}, {tenants:,} tenants", []).append(took_ms)
                        if not place:
                            figures.setdefault(name + GROWS, []).append(grown_mb)
                figures.setdefault(ANSWER, []).append(ping_ms(far_url))
        finally:
            postgres.kill()
    pairs = {
        f"{place}{ROWS} / {own}": (f"{place}{ROWS}, {tenants:,} tenants", f"{place}{own}, {tenants:,} tenants")
        for place in ("", FAR)
        for own in (FIRST, AGAIN)
    }
    return figures, pairs, {name: "MB" if name.endswith(GROWS) else "ms" for name in figures}


@contextlib.contextmanager
def relay(port: int) -> Iterator[str]:
    """The URL of a broker that is some way off, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=_relay, args=(listener, port), daemon=True)
        process.start()
        try:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        finally:
            process.kill()
            process.join()


def _relay(listener: socket.socket, port: int) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pass, args=(one, other), daemon=True).start()


def _pass(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1_000_000):
            time.sleep(DELAY_S)
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def ping_ms(url: str) -> float:
    """The median of some round trips."""
    with redis.Redis.from_url(url) as client:
        took = []
        for _ in range(200):
            began = time.perf_counter()
            client.ping()
            took.append((time.perf_counter() - began) * 1_000)
    return sorted(took)[100]


def fill(url: str, tenants: int) -> None:
    """As many rows, with settings of about 200 bytes."""
    migrations.upgrade(url)
    engine = database.connect(url)
    with database.transaction(engine) as connection:
        for start in range(0, tenants, 5_000):
            connection.execute(sa.insert(tenant_config), [row(at) for at in range(start, min(tenants, start + 5_000))])
    engine.dispose()


def row(at: int) -> dict[str, Any]:
    """One tenant."""
    settings = {
        "plan": ("free", "team", "business")[at % 3],
        "region": "eu-central",
        "limits": {"rps": 60 + at % 10, "seats": at % 500},
        "features": {"exports": at % 2 == 0, "sso": at % 4 == 3},
        "smtp": {"host": "mx.example.com", "user": f"tenant-{at}", "password": f"not-a-real-password-{at}"},
    }
    return {"tenant_id": f"tenant-{at:06}", "name": f"Tenant {at}", "settings": settings, "api_key": f"bench-{at:030}"}


def sync(redis_url: str, database_url: str, expected: int) -> Callable[[], None]:
    """opsdash, the whole operation: audited, one after the other."""
    ops = opsdash.connect(redis_url=redis_url, database_url=database_url, secret_key=SECRET_KEY)
    ops.snapshot()

    def run() -> None:
        written = ops.run(opsdash.SyncTenantConfigs(), actor="bench", confirm="YES").affected
        if written != expected:
            raise RuntimeError(f"{written} written, not {expected}")

    return run


def row_by_row(redis_url: str, database_url: str, expected: int) -> Callable[[], None]:
    """What people write: SELECT all, one SET each; on the same drivers, the secrets go along."""
    engine, client = database.connect(database_url), redis.Redis.from_url(redis_url, decode_responses=True)
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.count()).select_from(tenant_config))
    client.ping()

    def run() -> None:
        with engine.connect() as connection:
            for found in connection.execute(sa.select(tenant_config)):
                client.set(f"tenant_config:{found.tenant_id}", json.dumps(dict(found._mapping), default=str))
        if client.dbsize() != expected:
            raise RuntimeError(f"{client.dbsize()} written, not {expected}")

    return run


def in_a_child(way: Callable[..., Callable[[], None]], *args: Any) -> tuple[float, float]:
    """Milliseconds, and how far the peak of the resident memory is above what it was before, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(answers, way, *args))
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"{way.__name__} ended with {child.exitcode}")
    took_ms, grown_mb = answers.get()
    return took_ms, grown_mb


def _child(answers: Any, way: Callable[..., Callable[[], None]], *args: Any) -> None:
    run = way(*args)
    before_mb = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew. Source: proc(5)
    began = time.perf_counter()
    run()
    took_ms = (time.perf_counter() - began) * 1_000
    answers.put((took_ms, _memory_mb("VmHWM") - before_mb))


def _memory_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024 / 1e6
