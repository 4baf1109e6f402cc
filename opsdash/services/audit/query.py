"""Reading the audit log: filters, pages by keyset, and streams."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Status, times
from opsdash.services.audit.entries import WRITTEN, entry_of
from opsdash.services.database.engine import answering, reading
from opsdash.services.database.tables import audit_log
from opsdash.text import as_text

_EXPORT_CHUNK = 200
_ROWS = 1_000
"""Rows of one statement: so few that also large details take little memory."""
READ: tuple[sa.ColumnElement[Any], ...] = (
    *(
        sa.type_coerce(audit_log.c[name], sa.DateTime(timezone=True)).label(name)
        for name in ("timestamp", "finished_at")
    ),
    *(audit_log.c[name] for name in ("user", "operation", "status")),
    sa.cast(audit_log.c.details, sa.Text).label("details"),
    *(sa.cast(audit_log.c[name], sa.Text).label(name) for name in ("id", "request_id")),
    audit_log.c.seq,
)
"""Columns of ``rows``, as the drivers give them: in Python's own types a hundred thousand take a second more."""
MAX_PAGE = 10_000
COUNTED = 1_000_000
"""Entries that are counted for a page, at most."""
SEARCHED = 100_000
"""Entries that one page of a search for a text looks through, at most: no index helps it."""
SEARCH_S = 1.0
"""And it begins no further stretch of them after so long."""
FIRST_STRETCH, LONGEST_STRETCH = 2_000, 20_000
"""Entries of one statement: few at first, for nobody knows how large they are; then more, while they are quick."""
QUICK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries; what is None or empty does not filter.

    Attributes:
        since: Begun at or after this, ``until``: before this; both aware.
        text: Occurs in the details, whatever the case.
        broker: Done on this one, as `broker_identity` says it; ``THIS`` where an `AuditLog` is asked: its own.
        or_no_broker: With ``broker``: also entries that don't say on which.
    """

    user: str = ""
    operation: str = ""
    status: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    broker: str = ""
    or_no_broker: bool = False

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
                    raise Invalid(f"{error}", field=name) from None
        for name in ("user", "operation", "status", "broker"):
            object.__setattr__(self, name, as_text(getattr(self, name)))


ALL = Filter()
MOST_ECHO = 80
"""Characters of a wrong name that an error repeats."""
THIS = "this"
"""In place of a broker: the one of the console that is asked. No broker is called that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, newest first, and where the next one begins; ``after`` is None on the last.

    Attributes:
        searched: Of a search for a text that ended before its page was full: how many entries it looked through.
            The next page goes on with the older ones. Else None.
        of: How many entries there were to search, by the other filters; None where that was not asked, or is more than
            ``COUNTED``.
    """

    entries: tuple[AuditEntry, ...]
    after: str | None
    searched: int | None = None
    of: int | None = None


def page(engine: sa.Engine, chosen: Filter = ALL, *, limit: int = 50, after: str | None = None) -> Page:
    """One page of the log.

    Cost: an index scan that stops after the page, however long the log. For a text: ``SEARCHED`` entries that are read,
    about ``SEARCH_S``.

    Args:
        limit: 1 to ``MAX_PAGE`` entries.
        after: The ``after`` of the page before.

    Raises:
        Invalid: ``limit`` or ``after`` can't be used.
        Unavailable: The database did not answer.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"expected 1 to {MAX_PAGE:,}, got {limit}", field="limit")
    found = _read(engine, chosen, limit, None if after is None else _place(after))
    if found.searched is None:
        return found
    return replace(found, of=total(engine, replace(chosen, text=""), most=COUNTED))


def total(engine: sa.Engine, chosen: Filter = ALL, *, most: int | None = None) -> int | None:
    """How many entries; for a progress display. Cost: a scan of what is chosen, as far as ``most``.

    Returns:
        None where there are more than ``most``, or only a search for the text in all of them could tell.
    """
    if chosen.text:
        return None
    rows = _chosen(chosen).with_only_columns(audit_log.c.id).order_by(None)
    counted = rows if most is None else rows.limit(most + 1)
    with answering(engine), engine.connect() as connection:
        found = int(connection.scalar(sa.select(sa.func.count()).select_from(counted.subquery())) or 0)
    return None if most is not None and found > most else found


def entries(engine: sa.Engine, chosen: Filter = ALL) -> Iterator[AuditEntry]:
    """All that are chosen, newest first, ``_EXPORT_CHUNK`` in memory at a time.

    Read by pages: a slow reader keeps no connection and no old state of the database open. Entries that
    come after the start are left out; entries that are pruned meanwhile may be missing.
    """
    found = _read(engine, chosen, _EXPORT_CHUNK, None)
    yield from found.entries
    while found.after is not None:
        found = _read(engine, chosen, _EXPORT_CHUNK, _place(found.after))
        yield from found.entries


def rows(engine: sa.Engine, chosen: Filter = ALL, *, limit: int | None = None) -> Iterator[Sequence[sa.Row[Any]]]:
    """As ``entries``, for many: rows with the columns of ``READ``, ``_ROWS`` at a time, which nothing has checked yet.

    Not by a cursor on the server: for that a statement would last, and an old state be kept, as long as the reader
    takes. A page is one short statement, also of a search for a text.

    Args:
        limit: Rows at most; None: all.
    """
    place, left = None, limit
    while left is None or left > 0:
        size = _ROWS if left is None else min(_ROWS, left)
        with answering(engine), engine.connect() as connection:
            query = _older(_chosen(chosen), place).with_only_columns(*READ)
            if chosen.text:
                end = _end(connection, _chosen(replace(chosen, text="")), place, LONGEST_STRETCH)
                query, place = _until(query, end), end
                found = connection.execute(query if left is None else query.limit(left)).all()
            else:
                found = connection.execute(query.limit(size)).all()
                last = found[-1] if len(found) == size else None
                place = None if last is None else _Place(in_utc(last.timestamp), UUID(last.id))
        if found:
            yield found
        if place is None:
            return
        left = None if left is None else left - len(found)


def in_utc(raw: datetime) -> datetime:
    """A time of ``READ``: SQLite gives it without a zone, PostgreSQL in the session's."""
    return raw.replace(tzinfo=UTC) if raw.tzinfo is None else raw.astimezone(UTC)


def in_progress(engine: sa.Engine, before: datetime, here: str, others_since: datetime) -> tuple[AuditEntry, ...]:
    """Entries begun before then and not finished, oldest first, 100 at most. Cost: one query, by an index.

    Args:
        here: A broker.
        others_since: What other brokers have left behind before that is not among them.
    """
    broker = audit_log.c.broker
    query = sa.select(audit_log).where(
        audit_log.c.status == Status.IN_PROGRESS.value,
        audit_log.c.timestamp < before,
        sa.or_(broker == here, broker.is_(None), audit_log.c.timestamp >= others_since),
    )
    with reading(engine) as connection:
        return tuple(map(entry_of_row, connection.execute(query.order_by(audit_log.c.timestamp).limit(100))))


def is_alone(engine: sa.Engine, here: str) -> bool:
    """Whether no entry says another broker. Cost: both ends of ``ix_audit_log_broker``."""
    ends = [sa.select(end(audit_log.c.broker)).scalar_subquery() for end in (sa.func.min, sa.func.max)]
    with answering(engine), engine.connect() as connection:
        return {*connection.execute(sa.select(*ends)).one()} <= {here, None}


def named(engine: sa.Engine, chosen: Filter, installed: Collection[str]) -> Filter:
    """The filter with its operation as the log calls it: ``clear-queue`` is ``clear_queue``.

    Cost: nothing for an installed operation; else one look into the index, since the log keeps what once was installed.

    Args:
        installed: Names of the operations.

    Raises:
        Invalid: There is no such operation, and no entry of one.
        Unavailable: The database did not answer.
    """
    typed, usual = chosen.operation, chosen.operation.replace("-", "_")
    for name in (typed, usual):
        if not name or name in installed or page(engine, Filter(operation=name), limit=1).entries:
            return replace(chosen, operation=name)
    raise Invalid(
        f"there is no operation {typed[:MOST_ECHO]!r}, and the log has no entry of one",
        hint=f"Operations: {', '.join(sorted(installed))}.",
        field="operation",
    )


def newest_first() -> sa.Select[Any]:
    """All entries, newest first."""
    return sa.select(audit_log).order_by(audit_log.c.timestamp.desc(), audit_log.c.id.desc())


def entry_of_row(row: sa.Row[Any]) -> AuditEntry:
    """One row of the table as a value."""
    values = row._mapping
    return entry_of({name: values[name] for name in WRITTEN})


def _chosen(chosen: Filter) -> sa.Select[Any]:
    query = newest_first()
    for name in ("user", "operation", "status"):
        if value := getattr(chosen, name):
            query = query.where(audit_log.c[name] == value)
    if chosen.broker:
        same_broker = audit_log.c.broker == chosen.broker
        query = query.where(sa.or_(same_broker, audit_log.c.broker.is_(None)) if chosen.or_no_broker else same_broker)
    if chosen.since is not None:
        query = query.where(audit_log.c.timestamp >= chosen.since)
    if chosen.until is not None:
        query = query.where(audit_log.c.timestamp < chosen.until)
    if chosen.text:
        details = sa.func.lower(sa.cast(audit_log.c.details, sa.Text))
        query = query.where(details.contains(json.dumps(chosen.text.lower())[1:-1], autoescape=True))
    return query


def _read(engine: sa.Engine, chosen: Filter, limit: int, place: _Place | None) -> Page:
    if chosen.text:
        with answering(engine), engine.connect() as connection:
            return _search(connection, chosen, limit, place)
    with reading(engine) as connection:
        found = connection.execute(_older(_chosen(chosen), place).limit(limit + 1)).all()
    return _page(found, limit)


def _search(connection: sa.Connection, chosen: Filter, limit: int, place: _Place | None) -> Page:
    """A page of a search for a text, by stretches of the log, so that no statement lasts long."""
    within, started = _chosen(replace(chosen, text="")), time.monotonic()
    found: list[sa.Row[Any]] = []
    searched, size = 0, FIRST_STRETCH
    while True:
        began = time.monotonic()
        size = min(size, SEARCHED - searched)
        end = _end(connection, within, place, size)
        stretch = _until(_older(_chosen(chosen), place), end)
        found += connection.execute(stretch.limit(limit + 1 - len(found))).all()
        if end is None or len(found) > limit:
            return _page(found, limit)
        searched, place = searched + size, end
        now = time.monotonic()
        if searched >= SEARCHED or now - started > SEARCH_S:
            return Page(entries=tuple(map(entry_of_row, found)), after=_written(place), searched=searched)
        size = min(2 * size, LONGEST_STRETCH) if now - began < QUICK_S else size


def _end(connection: sa.Connection, within: sa.Select[Any], place: _Place | None, size: int) -> _Place | None:
    """Where a stretch of so many entries ends; None: it goes as far as the log. Cost: a scan of an index."""
    ends = _older(within.with_only_columns(audit_log.c.timestamp, audit_log.c.id), place)
    end = connection.execute(ends.offset(size - 1).limit(1)).one_or_none()
    return None if end is None else _Place(*end)


def _until(query: sa.Select[Any], end: _Place | None) -> sa.Select[Any]:
    """No further than that place."""
    if end is None:
        return query
    return query.where(audit_log.c.timestamp >= end.at, _position >= _pair(end))


def _page(rows: Sequence[sa.Row[Any]], limit: int) -> Page:
    """A page of the first ``limit`` rows; one more says that there is a next one."""
    entries = tuple(map(entry_of_row, rows[:limit]))
    last = _Place(entries[-1].timestamp, entries[-1].id) if len(rows) > limit else None
    return Page(entries=entries, after=None if last is None else _written(last))


class _Place(NamedTuple):
    """Of an entry among all, newest first."""

    at: datetime
    number: UUID


_position = sa.tuple_(audit_log.c.timestamp, audit_log.c.id)


def _pair(place: _Place) -> sa.Tuple:
    return sa.tuple_(sa.literal(place.at, audit_log.c.timestamp.type), sa.literal(place.number, audit_log.c.id.type))


def _older(query: sa.Select[Any], place: _Place | None) -> sa.Select[Any]:
    """What comes after that place."""
    if place is None:
        return query
    return query.where(audit_log.c.timestamp <= place.at, _position < _pair(place))  # the first for the index


def _written(place: _Place) -> str:
    return f"{place.at.isoformat()}~{place.number}"


def _place(after: str) -> _Place:
    at, _, number = after.partition("~")
    try:
        return _Place(times.in_utc(datetime.fromisoformat(at)), UUID(number))
    except ValueError:
        raise Invalid(f"{after[:100]!r} is not the end of a page", field="after") from None
