"""Reading the audit log: filters, pages by keyset, and streams for export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from opsdash import times
from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Status, to_plain
from opsdash.services.database import answering
from opsdash.services.tables import audit_log
from opsdash.text import as_text, safe

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
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_EXPORT_CHUNK = 500
MAX_PAGE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries; what is None or empty does not filter.

    Attributes:
        since: Begun at or after this, ``until``: before this; both aware.
        text: Occurs in the details, whatever the case.
    """

    user: str = ""
    operation: str = ""
    status: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    def __post_init__(self) -> None:
        """What no database takes is looked for as it is written there; a time that none reckons with is refused.

        Raises:
            Invalid: Naming ``since`` or ``until``.
        """
        for name in ("since", "until"):
            if (moment := getattr(self, name)) is not None:
                try:
                    object.__setattr__(self, name, times.in_utc(moment))
                except ValueError as error:
                    raise Invalid(f"{name}: {error}") from None
        for name in ("user", "operation", "status"):
            object.__setattr__(self, name, as_text(getattr(self, name)))


ALL = Filter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, newest first, and where the next one begins; ``after`` is None on the last."""

    entries: tuple[AuditEntry, ...]
    after: str | None


def page(engine: sa.Engine, chosen: Filter = ALL, *, limit: int = 50, after: str | None = None) -> Page:
    """One page of the log. Cost: an index scan that stops after the page, however long the log.

    Args:
        limit: 1 to ``MAX_PAGE`` entries.
        after: The ``after`` of the page before.

    Raises:
        Invalid: ``limit`` or ``after`` can't be used.
        Unavailable: The database did not answer.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"limit: expected 1 to {MAX_PAGE:,}, got {limit}")
    query = _chosen(chosen)
    if after is not None:
        at, number = _place(after)
        place = sa.tuple_(audit_log.c.timestamp, audit_log.c.id)
        query = query.where(
            audit_log.c.timestamp <= at,  # for the index; the pair decides
            place < sa.tuple_(sa.literal(at, audit_log.c.timestamp.type), sa.literal(number, audit_log.c.id.type)),
        )
    with answering(engine), engine.connect() as connection:
        rows = connection.execute(query.limit(limit + 1)).all()
    entries = tuple(map(entry_of_row, rows[:limit]))
    more = len(rows) > limit
    return Page(entries=entries, after=f"{entries[-1].timestamp.isoformat()}~{entries[-1].id}" if more else None)


def total(engine: sa.Engine, chosen: Filter = ALL) -> int:
    """How many entries; for a progress display. Cost: a scan of what is chosen."""
    with answering(engine), engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(_chosen(chosen).subquery())) or 0)


def entries(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[AuditEntry]:
    """All that are chosen, newest first; streams, ``_EXPORT_CHUNK`` rows at a time."""
    with answering(engine), engine.connect() as connection:
        for row in connection.execution_options(yield_per=_EXPORT_CHUNK).execute(_chosen(chosen)):
            yield entry_of_row(row)


def export_csv(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[str]:
    """CSV lines, header included. Text that a spreadsheet would take for a formula gets a leading apostrophe."""
    yield _csv_line(CSV_COLUMNS)
    for entry in entries(engine, chosen):
        plain = to_plain(entry) | {"details": json.dumps(to_plain(entry.details), ensure_ascii=False)}
        yield _csv_line(plain[column] for column in CSV_COLUMNS)


def export_jsonl(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[str]:
    """JSON Lines: one entry each, every column."""
    for entry in entries(engine, chosen):
        yield _writable(json.dumps(to_plain(entry), ensure_ascii=False)) + "\n"


def newest_first() -> sa.Select[Any]:
    """All entries, newest first."""
    return sa.select(audit_log).order_by(audit_log.c.timestamp.desc(), audit_log.c.id.desc())


def entry_of_row(row: sa.Row[Any]) -> AuditEntry:
    """One row of the table as a value."""
    values = dict(row._mapping)
    details = values["details"]
    if not isinstance(details, dict):  # whoever wrote it, it was not opsdash
        details = {"message": "The details of this entry are no JSON object."}
    kept = {"status": Status(values["status"]), "details": safe(details)}
    kept |= {name: safe(values[name]) for name in ("user", "operation", "key_id", "seal")}
    return AuditEntry(**values | kept)


EXPORTS: dict[str, Callable[[sa.Engine, Filter], Iterator[str]]] = {"csv": export_csv, "jsonl": export_jsonl}


def _chosen(chosen: Filter) -> sa.Select[Any]:
    query = newest_first()
    for name in ("user", "operation", "status"):
        if value := getattr(chosen, name):
            query = query.where(audit_log.c[name] == value)
    if chosen.since is not None:
        query = query.where(audit_log.c.timestamp >= chosen.since)
    if chosen.until is not None:
        query = query.where(audit_log.c.timestamp < chosen.until)
    if chosen.text:
        details = sa.func.lower(sa.cast(audit_log.c.details, sa.Text))
        query = query.where(details.contains(json.dumps(chosen.text.lower())[1:-1], autoescape=True))
    return query


def _place(after: str) -> tuple[datetime, UUID]:
    at, _, number = after.partition("~")
    try:
        return times.in_utc(datetime.fromisoformat(at)), UUID(number)
    except ValueError:
        raise Invalid(f"after: {after[:100]!r} is not the end of a page") from None


def _csv_line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_no_formula(cell) for cell in cells])
    return _writable(out.getvalue())


def _writable(line: str) -> str:
    # Half a surrogate pair, from a task's name: in JSON its escape means the same.
    return line.encode("utf-8", "backslashreplace").decode()


def _no_formula(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
