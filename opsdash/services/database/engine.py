"""Connecting to the database, and saying in an operator's words why it did not answer."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from opsdash.config.settings import NO_FOLDER, data_dir
from opsdash.errors import LOOK_FIRST, Invalid, OpsdashError, Unavailable, Uncertain
from opsdash.redaction import masked

VARIABLE = "OPSDASH_DATABASE_URL"
EXPECTED = "expected postgresql://user:password@host/database or sqlite:////folder/file.sqlite3"
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 15
"""PostgreSQL ends a statement after this long: a page that waits for a lock is a page that hangs."""
SILENCE_TIMEOUT_S = 10
"""A server that acknowledges nothing for this long is gone, as after a pulled cable."""
FRESH_S = 0.1
"""A connection that was used so lately is not asked whether it still is one."""
LOCK_TIMEOUT_S = 5
"""SQLite: how long a writer waits for another one."""
CONNECTIONS, CONNECTIONS_KEPT = 25, 5
"""More than there are threads that read (``threads``): reads that hang leave some for acts."""
REASON_WIDTH = 160
MISSING = f"If {VARIABLE} is right, run: opsdash db upgrade"

_MISSING = ("no such table", "no such column", "has no column named")
_MISSING_CODES = {"42P01", "42703"}  # PostgreSQL: undefined_table, undefined_column
_DENIED_CODE = "42501"
_BAD_DSN = ("invalid dsn", "invalid connection option", "invalid integer value", "invalid port")


def connect(url: str, *, create: bool = True) -> sa.Engine:
    """An engine for the URL; the first use makes the first connection.

    Connections are checked before use, limited in time, and, on SQLite, in write-ahead mode with foreign keys enforced.

    Args:
        create: A SQLite file, and the default one's folder, are made when they are missing; else the first use says
            that they are.

    Raises:
        Invalid: The URL can't be read, names a database that opsdash doesn't speak to, or a folder that isn't there.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed, create=create)
    return _connect_postgresql(parsed)


def parse(url: str) -> sa.URL:
    """The URL with the driver opsdash uses; its text is never repeated in an error, for it holds a password.

    Raises:
        Invalid: One line naming the setting, the problem and what is expected.
    """
    try:
        parsed = sa.make_url(url.strip())
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise Invalid(f"this is not a database URL; {EXPECTED}", setting=VARIABLE) from None
    if "@" in (parsed.host or ""):  # it would be shown as one
        raise Invalid(f"a password with @ in it has to be written with %40; {EXPECTED}", setting=VARIABLE)
    backend, _, driver = parsed.drivername.partition("+")
    if backend in {"postgresql", "postgres"} and driver in {"", "psycopg2"}:
        if not parsed.database:
            raise Invalid(f"names no database after the host; {EXPECTED}", setting=VARIABLE)
        # Said in full: SQLAlchemy 2.0 and 2.1 differ in what plain postgresql:// means.
        return parsed.set(drivername="postgresql+psycopg2")
    if backend == "sqlite" and driver in {"", "pysqlite"}:
        if parsed.host:
            raise Invalid(
                "sqlite:// takes a third slash before the file, a fourth if it starts at the root", setting=VARIABLE
            )
        if not parsed.database or parsed.database == ":memory:":
            raise Invalid(f"names no file, and an audit log in memory is none; {EXPECTED}", setting=VARIABLE)
        return parsed.set(drivername="sqlite")
    raise Invalid(f"opsdash can't use {parsed.drivername!r}; {EXPECTED}", setting=VARIABLE)


def label(url: str | sa.URL) -> str:
    """The database for people: ``host/database`` or the file, never a user or a password."""
    parsed = parse(url) if isinstance(url, str) else url
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database)
    host = parsed.host or parsed.query.get("host") or "localhost"
    port = f":{parsed.port}" if parsed.port else ""
    return f"{host if isinstance(host, str) else ','.join(host)}{port}/{parsed.database}"


def short_label(url: sa.URL) -> str:
    """The same for sentences that a browser may show: of a file its name, and not where it is."""
    return Path(label(url)).name if url.get_backend_name() == "sqlite" else label(url)


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction, committed at the end, rolled back on any error; the errors of ``answering``.

    Raises:
        Uncertain: The connection was lost while the commit was under way: it may have been done.
    """
    with answering(engine), engine.connect() as connection, connection.begin() as begun:
        yield connection
        try:
            begun.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise _lost(engine) from error


@contextmanager
def statement(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction of one statement: on PostgreSQL one round trip and not three. Raises as ``transaction`` does.

    Raises:
        Uncertain: The connection was lost: it may have been done.
    """
    if engine.dialect.name != "postgresql":
        with transaction(engine) as connection:
            yield connection
        return
    with answering(engine), _without_begin(engine) as connection:
        try:
            yield connection
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise _lost(engine) from error


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for one statement that reads: on PostgreSQL one round trip, not three; errors as ``answering``."""
    connect = _without_begin if engine.dialect.name == "postgresql" else sa.Engine.connect
    with answering(engine), connect(engine) as connection:  # an outage may show as it connects
        yield connection


@contextmanager
def _without_begin(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose driver begins no transaction by itself.

    Not by the isolation level AUTOCOMMIT of SQLAlchemy, which has the server set its default and set it back: two
    round trips.
    """
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


def _lost(engine: sa.Engine) -> Uncertain:
    return Uncertain(f"The database at {short_label(engine.url)} was lost while it was writing", hint=LOOK_FIRST)


@contextmanager
def answering(engine: sa.Engine) -> Iterator[None]:
    """Around the use of a database: what the driver raises becomes one line for the operator.

    A broken rule of the schema (``IntegrityError``) passes through: that is for the caller to understand.

    Raises:
        Unavailable: It did not answer, or lacks a table. Nothing was changed.
        Invalid: The driver can't make sense of the URL's options.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable(
            f"The database at {short_label(engine.url)} did not answer (all connections are busy)", silent=True
        ) from error
    except DBAPIError as error:
        known = _explain(engine, error)
        if known is None:
            raise
        raise known from error


def _explain(engine: sa.Engine, error: DBAPIError) -> OpsdashError | None:
    where, text = short_label(engine.url), str(error.orig)
    code = getattr(error.orig, "pgcode", None)
    if lacks_table(error):
        return Unavailable(
            f"The database at {where} lacks a table or column of this opsdash", hint="Run: opsdash db upgrade"
        )
    if isinstance(error.orig, _MissingFileError):
        return Unavailable(f"There is no database file {where}", hint=MISSING)
    if any(part in text for part in _BAD_DSN):
        return Invalid(f"an option or the port in the URL means nothing to PostgreSQL; {EXPECTED}", setting=VARIABLE)
    if code == _DENIED_CODE:
        return Unavailable(f"The database at {where} refused ({_reason(text)})")
    unreadable = type(error.orig) is sqlite3.DatabaseError  # "file is not a database", "disk image is malformed"
    if isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated or unreadable:
        return Unavailable(f"The database at {where} did not answer ({_reason(text)})", silent=True)
    return None


def lacks_table(error: BaseException | None) -> bool:
    """Whether this is a database's answer that a table or a column is not there."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    return code in _MISSING_CODES or any(part in str(error.orig) for part in _MISSING)


def _reason(text: str) -> str:
    """The driver's own reason in a few words: the last thing the server or the system said."""
    line = text.strip().splitlines()[0] if text.strip() else "no reason given"
    for mark in ("FATAL:", "ERROR:", "failed:"):
        line = line.rpartition(mark)[2]
    line = masked(line.strip())
    return line if len(line) <= REASON_WIDTH else line[: REASON_WIDTH - 1] + "…"


def _connect_postgresql(url: sa.URL) -> sa.Engine:
    if importlib.util.find_spec("psycopg2") is None:
        raise Invalid("PostgreSQL needs the package psycopg2-binary, which is not installed", setting=VARIABLE)
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "opsdash",
        "tcp_user_timeout": SILENCE_TIMEOUT_S * 1_000,
        "keepalives_idle": SILENCE_TIMEOUT_S,
        "keepalives_interval": 3,
        "keepalives_count": 3,
    }
    engine = sa.create_engine(
        url,
        connect_args={key: value for key, value in defaults.items() if key not in url.query},
        pool_recycle=1_800,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_size=CONNECTIONS_KEPT,
        max_overflow=CONNECTIONS - CONNECTIONS_KEPT,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # Said in SQL, not in the connection's startup options: PgBouncer refuses those.
        if "options" not in url.query:
            with connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
            connection.commit()

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info["used_s"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _proxy: object) -> None:
        # Not `pool_pre_ping`, which costs acts in quick succession a round trip for each of their transactions.
        if time.monotonic() - record.info.get("used_s", float("inf")) > FRESH_S:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise sa.exc.InvalidatePoolError from error

    return engine


class _MissingFileError(sqlite3.OperationalError):
    """No such file, where none may be made."""


def _check_folder(folder: Path) -> None:
    """Makes the default folder. Another one must be there: a slip in its name must not leave a database elsewhere."""
    try:
        if folder == data_dir():
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            raise Invalid(f"there is no folder {folder}", hint=NO_FOLDER, setting=VARIABLE)
    except OSError as error:
        raise Invalid(f"the folder {folder} can't be made: {error.strerror}", setting=VARIABLE) from error


def _connect_sqlite(url: sa.URL, *, create: bool) -> sa.Engine:
    path = str(url.database)
    if create and not path.startswith("file:"):
        _check_folder(Path(path).absolute().parent)
    engine = sa.create_engine(
        url,
        connect_args={"timeout": LOCK_TIMEOUT_S},
        pool_timeout=LOCK_TIMEOUT_S,
        pool_size=CONNECTIONS_KEPT,
        max_overflow=CONNECTIONS - CONNECTIONS_KEPT,
    )

    @event.listens_for(engine, "do_connect")
    def look(_dialect: object, _record: object, _args: object, _options: object) -> None:
        # A slip in the URL must not leave an empty log behind, which an upgrade would then make look like the real one.
        if not create and not path.startswith("file:") and not Path(path).exists():
            raise _MissingFileError

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # Python's driver begins transactions late and never before DDL; "begin" below does it for every statement.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # `execution_options(sqlite_begin="IMMEDIATE")` takes the write lock first: who reads, then writes, needs it.
        mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine
