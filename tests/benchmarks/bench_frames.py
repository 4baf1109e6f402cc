"""The audit log of 100,003 entries as a pandas frame, from a real PostgreSQL: seconds, and what the process grows by.

Beside it: what opsdash did before (an object and a dict per entry, from pages of 200), and what one would write
instead, ``pandas.read_sql`` and ``json.loads``. Each measurement has a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import sqlalchemy as sa
from support import services

from opsdash.services.database import engine as database
from opsdash.services.database import migrations

ENTRIES = 100_003
WAYS = {
    "opsdash, with details": "details=True",
    "opsdash": "details=False",
    "an object per entry, as before": "before",
    "pandas.read_sql, json.loads": "read_sql",
}


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Seconds, by the clock and of the processor, and MB of the process at its peak above what it had before."""
    figures: dict[str, list[float]] = {}
    number = 10_001 if quick else ENTRIES
    with services.folder() as home, services.folder() as data:
        broker, server = services.Valkey(home), services.Postgres(data)
        broker.start()
        server.start()
        url = server.create()
        migrations.upgrade(url)
        fill(url, number)
        for _ in range(2 if quick else 7):
            for name, way in WAYS.items():
                rows, took_s, used_s, grown_mb = read(way, broker.url, url)
                if rows != number:
                    raise RuntimeError(f"{name}: {rows} of {number}")
                figures.setdefault(f"{name}: time", []).append(took_s)
                figures.setdefault(f"{name}: processor", []).append(used_s)
                figures.setdefault(f"{name}: memory", []).append(grown_mb)
        broker.kill()
        server.kill()
    ours, before, instead = (name for name in WAYS if WAYS[name] != "details=False")
    pairs = {
        f"{other} / opsdash: {what}": (f"{other}: {what}", f"{ours}: {what}")
        for other in (before, instead)
        for what in ("time", "processor", "memory")
    }
    return figures, pairs, {name: "MB" if name.endswith("memory") else "s" for name in figures}


def read(way: str, redis_url: str, url: str) -> tuple[int, float, float, float]:
    """Rows, seconds, seconds of the processor and MB of one process that reads the log once."""
    env = {**os.environ, "OPSDASH_REDIS_URL": redis_url, "OPSDASH_DATABASE_URL": url}
    done = subprocess.run([sys.executable, "-c", READER, way], env=env, check=True, capture_output=True, text=True)
    rows, took_s, used_s, grown_kb = json.loads(done.stdout)
    return rows, took_s, used_s, grown_kb / 1024


READER = """
import gc, json, sys, time
from datetime import UTC, datetime
import pandas as pd
import opsdash
from opsdash.model import to_plain
from opsdash.services.audit import query

def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

def before(chosen=query.ALL):
    rows = []
    for entry in query.entries(console.engine, chosen):
        details = entry.details
        rows.append({
            "timestamp": entry.timestamp, "finished_at": entry.finished_at, "user": entry.user,
            "operation": entry.operation, "status": entry.status.value, "message": details.get("message"),
            "surface": details.get("surface"), "took_s": details.get("took_s"), "affected": details.get("affected"),
            "details": json.dumps(to_plain(details), ensure_ascii=False, default=str), "id": str(entry.id),
            "request_id": str(entry.request_id), "seq": entry.seq, "broker": entry.broker,
        })
    kinds = {"user": "string", "operation": "string", "message": "string", "surface": "string", "took_s": "Float64",
             "affected": "Int64", "details": "object", "id": "string", "request_id": "string", "seq": "Int64",
             "broker": "string", "status": "category"}
    times = "datetime64[us, UTC]"
    return pd.DataFrame({
        name: pd.Series([row[name] for row in rows], dtype=kinds[name]) if name in kinds
        else pd.Series(pd.to_datetime([row[name] for row in rows], utc=True), dtype=times)
        for name in (rows[0] if rows else ())
    })

def read_sql(where=""):
    frame = pd.read_sql("SELECT * FROM audit_log " + where + " ORDER BY timestamp DESC", console.engine)
    frame["details"] = [json.loads(one) if isinstance(one, str) else one for one in frame["details"]]
    return frame

console, way = opsdash.connect(), sys.argv[1]
future = datetime(2900, 1, 1, tzinfo=UTC)
if way == "before":
    before(query.Filter(since=future))  # what is imported and connected once is not what is measured
    act = before
elif way == "read_sql":
    read_sql("WHERE timestamp > '2900-01-01'")
    act = read_sql
else:
    console.audit.to_frame(since=future, details=way == "details=True")
    act = lambda: console.audit.to_frame(details=way == "details=True")
gc.collect()
with open("/proc/self/clear_refs", "w") as refs:
    refs.write("5")  # the peak so far is forgotten
had = kilobytes("VmRSS")
started, used = time.perf_counter(), time.process_time()
frame = act()
took_s, used_s = time.perf_counter() - started, time.process_time() - used
print(json.dumps([len(frame), took_s, used_s, kilobytes("VmHWM") - had]))
console.close()
"""


def fill(url: str, number: int) -> None:
    """Entries as clears, pauses and refusals leave them, 40 users, every message its own."""
    engine = database.connect(f"{url}?options=-c%20statement_timeout%3D0")
    with engine.begin() as connection:
        connection.execute(sa.text(MANY), {"number": number, "start": datetime.now(UTC)})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE audit_log"))
    engine.dispose()


MANY = """
INSERT INTO audit_log (id, timestamp, "user", operation, details, status, request_id, finished_at, seq)
SELECT gen_random_uuid(), CAST(:start AS timestamptz) - n * interval '10 seconds', 'user ' || n % 40,
       CASE WHEN n % 50 = 0 THEN 'sync_tenant_configs' WHEN n % 7 = 0 THEN 'pause_processing' ELSE 'clear_queue' END,
       json_build_object(
         'broker', 'redis-a:6379/0', 'params', json_build_object('queue', 'emails'), 'surface', 'page',
         'client', '10.1.2.' || n % 250, 'previewed', json_build_object('waiting', n % 1000),
         'message', 'Cleared ' || n || ' tasks from emails; they are kept for a day.', 'affected', n,
         'receipt', json_build_object('before', json_build_object('0', n, '3', 0), 'after', json_build_object('0', 0)),
         'took_s', 0.004),
       CASE WHEN n % 29 = 0 THEN 'refused' ELSE 'success' END, gen_random_uuid(),
       CAST(:start AS timestamptz) - n * interval '10 seconds', n
FROM generate_series(1, :number) n
"""
