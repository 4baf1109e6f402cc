"""The audit log as a file: CSV with all columns, CSV for people, and JSON Lines; each a stream."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from opsdash.model import AuditEntry, to_plain
from opsdash.services.audit.query import ALL, Filter, entries

CSV_COLUMNS = (
    "timestamp",
    "finished_at",
    "user",
    "operation",
    "status",
    "details",
    "id",
    "request_id",
    "seq",
    "key_id",
    "seal",
    "broker",
)
FLAT_COLUMNS = (
    "Began (UTC)",
    "Ended (UTC)",
    "User",
    "Operation",
    "Target",
    "Reason",
    "Status",
    "Result",
    "Affected",
    "Took (s)",
    "From",
    "Client",
    "Broker",
    "Id",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def export_csv(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[str]:
    """CSV lines, header included. Text that a spreadsheet would take for a formula gets a leading apostrophe."""
    yield _csv_line(CSV_COLUMNS)
    for entry in entries(engine, chosen):
        plain = to_plain(entry) | {"details": json.dumps(to_plain(entry.details), ensure_ascii=False)}
        yield _csv_line(plain[column] for column in CSV_COLUMNS)


def export_flat(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[str]:
    """CSV lines for people: one column per fact, no JSON; the same care for spreadsheets."""
    yield _csv_line(FLAT_COLUMNS)
    for entry in entries(engine, chosen):
        yield _csv_line(_flat(entry))


def export_jsonl(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[str]:
    """JSON Lines: one entry each, every column."""
    for entry in entries(engine, chosen):
        yield _writable(json.dumps(to_plain(entry), ensure_ascii=False)) + "\n"


def _csv_line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_no_formula(cell) for cell in cells])
    return _writable(out.getvalue())


def _writable(line: str) -> str:
    # Half a surrogate pair, from a task's name: in JSON its escape means the same.
    return line.encode("utf-8", "backslashreplace").decode()


def _flat(entry: AuditEntry) -> tuple[Any, ...]:
    """One value for each of ``FLAT_COLUMNS``."""
    finished, details = entry.finished_at, entry.details
    facts = (details.get(name) for name in ("message", "affected", "took_s", "surface", "client"))
    return (
        f"{entry.timestamp:%Y-%m-%d %H:%M:%S}",
        "" if finished is None else f"{finished:%Y-%m-%d %H:%M:%S}",
        entry.user,
        entry.title,
        entry.target,
        entry.reason,
        entry.status.value.replace("_", " "),
        *(fact if isinstance(fact, str | int | float) else "" for fact in facts),
        entry.broker,
        entry.id,
    )


def _no_formula(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


EXPORTS: dict[str, Callable[[sa.Engine, Filter], Iterator[str]]] = {
    "csv": export_csv,
    "flat": export_flat,
    "jsonl": export_jsonl,
}
