"""Where tenants come from: opsdash's own table, the host's, or a callable of the host."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from opsdash.config.settings import Settings
from opsdash.errors import Invalid, OpsdashError, Unavailable
from opsdash.redaction import masked
from opsdash.services.database.engine import answering, lacks_table
from opsdash.services.database.tables import UtcDateTime, tenant_config
from opsdash.services.tenants import digests
from opsdash.services.tenants.digests import DigestedRows
from opsdash.services.tenants.index import CHUNK
from opsdash.services.tenants.redaction import MAX_CONFIG_BYTES, OVERSIZED, id_of, instant
from opsdash.services.tenants.version import Version, columns, is_named
from opsdash.text import without_folders

log = logging.getLogger(__name__)


class TenantSource(Protocol):
    """Gives the rows of all tenants: mappings with ``tenant_id`` and any other column of ``tenant_config``."""

    @property
    def named(self) -> bool:
        """A setting says that tenants are there: they are used, however many there are."""

    def chunks(self) -> Iterator[list[Mapping[str, Any]]]:
        """All rows, a few hundred at a time, in bounded memory."""

    def ids(self) -> Iterator[str]:
        """The ids of all rows."""

    def version(self, after: datetime | None = None) -> Version | None:
        """Cheap enough for a page; None where only reading everything could tell."""

    def digested(self) -> AbstractContextManager[DigestedRows | None]:
        """The same rows with digests, in one state of the table; None where the source makes none: use `chunks`."""


@dataclass(frozen=True)
class TableSource:
    """A table in opsdash's database.

    Attributes:
        columns: Column of ``tenant_config`` → the table's own name for it, empty where the table has none.
        named: A setting names it.
    """

    engine: sa.Engine
    table: str
    columns: Mapping[str, str]
    named: bool = False
    _timeless: list[str] = field(default_factory=list, init=False, compare=False, repr=False)
    _undigested: list[str] = field(default_factory=list, init=False, compare=False, repr=False)

    def chunks(self) -> Iterator[list[Mapping[str, Any]]]:
        """Streams from a cursor on the server; one statement sees one state of the table."""
        names = self._there()
        columns = map(self._read_as, names)
        for rows in self._read(sa.select(*columns).order_by(self._column("tenant_id"))):
            yield [dict(zip(names, row, strict=True)) for row in rows]

    @contextmanager
    def digested(self) -> Iterator[DigestedRows | None]:
        """PostgreSQL makes digests; SQLite would have to ask this process for each row's."""
        if self.engine.dialect.name != "postgresql" or self._undigested:
            yield None
            return
        with self._answering(), self._text(), self.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            if (context := digests.context(connection, self._table, self.columns)) is None:
                self._undigested.append(self.table)  # asked no more: a database logs each such error
                connection.rollback()
                yield None
                return
            columns = {name: self._read_as(name) for name in self._there()}
            yield DigestedRows(connection, self._table, columns, self._column("tenant_id"), context, CHUNK)

    def ids(self) -> Iterator[str]:
        """Streams the ids alone."""
        for rows in self._read(sa.select(self._column("tenant_id"))):
            yield from (id_of({"tenant_id": row[0]}) for row in rows)

    def version(self, after: datetime | None = None) -> Version:
        """One aggregate, a walk over the table. Measured: 20 ms for 100,000 rows of PostgreSQL.

        Where ``updated_at`` is not a time, the rows are only counted. A table that no setting
        names, and that is not there, has no rows.
        """
        try:
            return self._version(after)
        except Unavailable:
            if self.named or self._is_there():
                raise
            return Version(0)

    def _version(self, after: datetime | None) -> Version:
        columns: list[sa.ColumnElement[Any]] = [sa.func.count()]
        timed = bool(self.columns["updated_at"]) and not self._timeless
        if timed:
            changed_at = self._column("updated_at")
            after_value = sa.literal(after, UtcDateTime())
            later = changed_at if after is None else sa.case((changed_at > after_value, changed_at))
            columns += [sa.func.max(changed_at), sa.func.min(later), self._sum(changed_at)]
        try:
            with self._answering(), self.engine.connect() as connection:
                found = connection.execute(sa.select(*columns).select_from(self._table)).one()
        except DBAPIError as error:
            if not timed:
                raise
            log.warning("changes of tenants are not seen: updated_at of %s is not a time (%s)", self.table, error.orig)
            self._timeless.append(self.table)  # asked no more: a database logs each such error
            return self._version(None)
        rows, newest, since, mark = (*found, None, None, None)[:4]
        return Version(rows, instant(newest), instant(since), "" if mark is None else str(mark))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            with answering(self.engine):
                yield
        except Unavailable as error:
            if not lacks_table(error.__cause__) or self.table == tenant_config.name:
                raise
            raise Unavailable(
                f"The tenants' table {self.table}, or a column of it, is not there.",
                hint="See OPSDASH_TENANT_TABLE and OPSDASH_TENANT_COLUMNS.",
            ) from error

    def _is_there(self) -> bool:
        with answering(self.engine):
            return sa.inspect(self.engine).has_table(self.table)

    def _there(self) -> list[str]:
        return [name for name, own in self.columns.items() if own]

    @functools.cached_property
    def _table(self) -> sa.TableClause:
        schema, _, name = self.table.rpartition(".")
        # Without types: one value that is none of its column's must fail alone, not the whole result.
        columns: list[sa.ColumnClause[Any]] = [sa.column(own) for own in self.columns.values() if own]
        return sa.table(name, *columns, schema=schema or None)

    def _column(self, name: str) -> sa.ColumnElement[Any]:
        return self._table.c[self.columns[name]]

    def _read_as(self, name: str) -> sa.ColumnElement[Any]:
        return self._settings() if name == "settings" else self._column(name)

    def _settings(self) -> sa.ColumnElement[Any]:
        # As text: so does broken JSON. Ten megabytes of it are not even fetched.
        text = sa.cast(self._column("settings"), sa.Text)
        return sa.case((sa.func.length(text) > MAX_CONFIG_BYTES, OVERSIZED), else_=text)

    def _sum(self, changed_at: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        if self.engine.dialect.name == "sqlite":  # whole milliseconds: a sum of fractions depends on the order
            return sa.func.sum(sa.cast(sa.func.julianday(changed_at) * 86_400_000, sa.BigInteger))
        return sa.func.sum(sa.extract("epoch", changed_at))

    def _read(self, query: sa.Select[Any]) -> Iterator[list[sa.Row[Any]]]:
        with self._answering(), self._text(), self.engine.connect() as connection, _any_bytes(connection):
            for rows in connection.execution_options(yield_per=CHUNK).execute(query).partitions():
                yield list(rows)

    @contextmanager
    def _text(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # PostgreSQL with the encoding SQL_ASCII, which checks nothing
            raise Unavailable(
                f"The tenants' table {self.table} contains bytes that are not text in its encoding."
            ) from error


@contextmanager
def _any_bytes(connection: sa.Connection) -> Iterator[None]:
    """Text that is not UTF-8, which SQLite takes, becomes text that no row can use, instead of an error."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.dbapi_connection
    raw.text_factory = _decoded
    try:
        yield
    finally:
        raw.text_factory = str


def _decoded(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class CallableSource:
    """A callable of the host that gives an iterable of mappings; called for each sync and preview."""

    path: str
    named = True

    def chunks(self) -> Iterator[list[Mapping[str, Any]]]:
        """In chunks; whatever the host's code raises becomes one line that names it."""
        rows = self._rows()
        while chunk := list(itertools.islice(rows, CHUNK)):
            yield chunk

    def ids(self) -> Iterator[str]:
        """As many as there are: the callable gives whole rows."""
        return map(id_of, self._rows())

    def version(self, after: datetime | None = None) -> None:
        """Only reading everything could tell."""

    def digested(self) -> AbstractContextManager[None]:
        """The callable makes none."""
        return nullcontext()

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        call = load(self.path)
        try:
            for row in call():
                # What is no mapping is a row without an id: it fails alone, and is counted.
                yield row if isinstance(row, Mapping) else {"tenant_id": ""}
        except OpsdashError:
            raise
        except Exception as error:  # the host's code may raise anything; its text may hold a secret
            raise Unavailable(f"The tenant source {self.path} failed ({type(error).__name__}).") from error


def source(settings: Settings, engine: sa.Engine) -> TenantSource:
    """The source that the settings name."""
    if settings.tenant_source:
        return CallableSource(settings.tenant_source)
    return TableSource(engine, settings.tenant_table, columns(settings), is_named(settings))


def load(path: str) -> Callable[[], Any]:
    """The host's callable.

    Raises:
        Invalid: One line that names the setting and what is wrong.
    """
    module, _, name = path.partition(":")
    if (here := os.getcwd()) not in sys.path:  # as for OPSDASH_CELERY_APP
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # the user's module may raise anything; it is theirs to read, as one line
        raise Invalid(
            f"can't load {path!r}: {masked(without_folders(f'{type(error).__name__}: {error}'))}",
            setting="OPSDASH_TENANT_SOURCE",
        ) from error
    if not callable(found):
        raise Invalid(f"{path!r} is not a callable; expected package.module:callable", setting="OPSDASH_TENANT_SOURCE")
    return found  # type: ignore[no-any-return]
