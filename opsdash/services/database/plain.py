"""Reading by the driver alone: for a command, which SQLAlchemy's import would keep waiting longer than its reads do.

Whatever is out of the ordinary, in the address or in what is read, is no error here but `NotPlainError`: then the
engine is used, which knows each case and says in an operator's words what is wrong.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from opsdash.errors import OpsdashError

WAIT_S = 1
"""PostgreSQL: how long one statement may take, here; the engine waits longer."""
CONNECT_S = 2
"""The least that libpq takes."""
_SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///(?!file:|:memory:)(?P<path>[^?#%]+)")
_POSTGRESQL = re.compile(
    r"postgres(?:ql)?(?:\+psycopg2)?://(?:(?P<user>[^:/@?#]+)(?::(?P<password>[^:/@?#]*))?@)?"
    r"(?P<host>[\w.-]+)(?::(?P<port>\d{1,5}))?/(?P<dbname>[\w-]+)"
)


class NotPlainError(OpsdashError):
    """This is for the engine: an address, an outage or a value that is not as usual."""


@dataclass(frozen=True, slots=True)
class Plain:
    """One open connection.

    Attributes:
        is_sqlite: Else it is PostgreSQL.
    """

    is_sqlite: bool
    _connection: Any

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; ``?`` is the place of a value, and occurs nowhere else in the query."""
        cursor = self._connection.cursor()
        cursor.execute(query if self.is_sqlite else query.replace("?", "%s"), tuple(map(self._bound, values)))
        return list(map(tuple, cursor.fetchall()))

    def _bound(self, value: Any) -> Any:
        if self.is_sqlite and isinstance(value, datetime):
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        return value


def is_usual(url: str) -> bool:
    """Whether an address is one of those that are read here. What is not may still be one for the engine."""
    address = url.strip()
    if _SQLITE.fullmatch(address):
        return True
    return bool(_POSTGRESQL.fullmatch(address)) and importlib.util.find_spec("psycopg2") is not None


@contextmanager
def reading(url: str) -> Iterator[Plain]:
    """A connection on which all statements see one state of the database, closed afterwards.

    Raises:
        NotPlainError: Anything is not as usual.
    """
    try:
        with _opened(url.strip()) as plain:
            yield plain
    except Exception as error:  # whatever it is, the engine meets it again and knows its words
        raise NotPlainError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _opened(address: str) -> Iterator[Plain]:
    if (found := _SQLITE.fullmatch(address)) is not None:
        import sqlite3

        if not Path(found["path"]).exists():
            raise NotPlainError("There is no such file.")
        with contextlib.closing(sqlite3.connect(found["path"], timeout=WAIT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            yield Plain(True, connection)
        return
    if (found := _POSTGRESQL.fullmatch(address)) is None:
        raise NotPlainError("This is no usual address.")
    import psycopg2  # type: ignore[import-untyped] # it carries no types

    said = {name: unquote(text) for name, text in found.groupdict().items() if text}
    with contextlib.closing(
        psycopg2.connect(**said, connect_timeout=CONNECT_S, application_name="opsdash")
    ) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{WAIT_S}s'")
        yield Plain(False, connection)
