"""Fixtures every test can ask for: real servers, fresh databases, settings that reach nothing but them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from support import nginx, services

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.console import Console
from opsdash.services.database import migrations, time_limit
from opsdash.services.monitoring import database_reads

SECRET_KEY = "a-key-for-tests-and-nothing-else"
# No test asserts by a clock: speed is measured in tests/benchmarks.
hypothesis.settings.register_profile("opsdash", deadline=None)
hypothesis.settings.load_profile("opsdash")
KEPT_VARIABLES = {
    "OPSDASH_REQUIRE",
    "OPSDASH_CHROMIUM",
    "OPSDASH_TEST_FORK",
    "OPSDASH_TEST_REDIS_SERVER",
    "OPSDASH_TEST_POSTGRES",
    "OPSDASH_TEST_SAID",
    "OPSDASH_TEST_SCHEDULES",
    "OPSDASH_TEST_VALUES",
}


def pytest_configure(config: pytest.Config) -> None:
    """Takes the caller's deployment out of reach: a test must never pause production because a shell names it."""
    services.required()  # a typing mistake in OPSDASH_REQUIRE ends the run here, not as a silent skip
    for name in [name for name in os.environ if name.startswith("OPSDASH_") and name not in KEPT_VARIABLES]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The default database and secret key land in a temporary folder, not in the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _nobodys_document() -> Iterator[None]:
    """What a page was doing when it ended is no later test's."""
    yield
    if "bokeh.io.doc" in sys.modules:
        from support import documents  # Bokeh is imported only by tests that need it

        documents.forget()


@pytest.fixture(autouse=True)
def _patient_with_databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a healthy database is slow now and then; only tests marked ``impatient`` are about that."""
    if request.node.get_closest_marker("impatient") is None:
        monkeypatch.setattr(time_limit, "WAIT_S", 10.0)
        monkeypatch.setattr(database_reads, "FIRST_WAIT_S", 10.0)


@pytest.fixture(scope="session")
def _valkey_server() -> Iterator[services.Valkey]:
    def start() -> services.Valkey:
        server = services.Valkey(stack.enter_context(services.folder()))
        server.start()
        return server

    with contextlib.ExitStack() as stack:
        server = services.provide("valkey", start)
        yield server
        server.kill()


@pytest.fixture
def valkey(_valkey_server: services.Valkey) -> services.Valkey:
    """A real broker, running and empty; ``stop()``, ``start()``, ``kill()``, ``freeze()`` and ``thaw()`` it at will."""
    _valkey_server.restore()
    _valkey_server.flush()
    return _valkey_server


@pytest.fixture
def valkey_url(valkey: services.Valkey) -> str:
    """The URL of a real, empty broker."""
    return valkey.url


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[services.Postgres]:
    def start() -> services.Postgres:
        server = services.Postgres(stack.enter_context(services.folder()))
        server.start()
        return server

    with contextlib.ExitStack() as stack:
        server = services.provide("postgres", start)
        yield server
        server.kill()


@pytest.fixture(scope="session")
def _postgres_template(_postgres_server: services.Postgres) -> str:
    """The name of a migrated database that others are copied from: 25 ms instead of a migration each."""
    url = _postgres_server.create()
    migrations.upgrade(url)
    return url.rsplit("/", 1)[1]


@pytest.fixture
def postgres(_postgres_server: services.Postgres) -> services.Postgres:
    """A real PostgreSQL server, running: as ``valkey``, and ``create()``, ``drop(url)``."""
    _postgres_server.restore()
    return _postgres_server


@pytest.fixture
def empty_postgres_url(postgres: services.Postgres) -> Iterator[str]:
    """A database on a real PostgreSQL, without any table."""
    url = postgres.create()
    yield url
    postgres.restore()
    postgres.drop(url)


@pytest.fixture
def postgres_url(postgres: services.Postgres, _postgres_template: str) -> Iterator[str]:
    """A fresh, migrated database on a real PostgreSQL."""
    url = postgres.create(_postgres_template)
    yield url
    postgres.restore()
    postgres.drop(url)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite3"
    migrations.upgrade(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:  # the write-ahead log into the file that is copied
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet, in a folder of its own."""
    (tmp_path / "new").mkdir()
    return f"sqlite:///{tmp_path / 'new' / 'opsdash.sqlite3'}"


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A fresh, migrated SQLite file."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path / 'opsdash.sqlite3')}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A database without any table: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture
def settings_for(request: pytest.FixtureRequest) -> Callable[..., Settings]:
    """Makes settings in development mode; ``redis_url`` and ``database_url`` are real and fresh unless given."""

    def make(**over: Any) -> Settings:
        for field, fixture in (("redis_url", "valkey_url"), ("database_url", "sqlite_url")):
            if field not in over:
                over[field] = request.getfixturevalue(fixture)
        return Settings.from_env({}, **{"auth": "dev", "secret_key": SECRET_KEY, **over})

    return make


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The program of a real browser."""
    return services.provide("browser", services.chromium)


@pytest.fixture(scope="session")
def behind_nginx(_valkey_server: services.Valkey) -> Callable[..., contextlib.AbstractContextManager[nginx.Proxied]]:
    """Starts real consoles behind a real nginx with the shipped configuration, until the end of a ``with`` block."""

    def start(database_url: str, consoles: int = 1) -> contextlib.AbstractContextManager[nginx.Proxied]:
        _valkey_server.restore()
        _valkey_server.flush()
        return nginx.proxied(_valkey_server.url, database_url, consoles)

    services.provide("nginx", nginx.nginx_program)
    return start


@pytest.fixture
def console_for(settings_for: Callable[..., Settings]) -> Iterator[Callable[..., Console]]:
    """Makes consoles on a real broker and, unless given, a SQLite file; closes them afterwards."""
    made: list[Console] = []

    def make(**over: Any) -> Console:
        made.append(assemble(settings_for(**over)))
        return made[-1]

    yield make
    for console in made:
        console.close()
