"""The database from nothing to now and back, on SQLite and on PostgreSQL."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from support import programs
from support.errors import fails
from support.services import until

from opsdash.config.settings import Settings
from opsdash.errors import Invalid, Unavailable, Uncertain
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_log, tenant_config

ROOT = Path(__file__).parents[2]


def entry(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "id": uuid.uuid4(),
        "timestamp": datetime.now(UTC),
        "user": "maria",
        "operation": "clear_queue",
        "details": {"params": {"queue": "emails"}},
        "status": "success",
        "request_id": uuid.uuid4(),
    }
    return values | changes


def tables(url: str) -> set[str]:
    engine = database.connect(url)
    names = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return names


@pytest.fixture
def engine(database_url):
    engine = database.connect(database_url)
    yield engine
    engine.dispose()


@pytest.mark.long
def test_up_down_and_up_again_leaves_the_tables_this_opsdash_expects(empty_database_url):
    url = empty_database_url
    assert migrations.current(url) is None
    migrations.upgrade(url)
    assert tables(url) == {"audit_head", "audit_log", "tenant_config", migrations.VERSION_TABLE}
    migrations.downgrade(url, "base")
    assert tables(url) == {migrations.VERSION_TABLE}
    assert migrations.current(url) is None
    migrations.upgrade(url)
    assert migrations.current(url) == migrations.head()
    assert migrations.check(url) == []


def test_upgrading_twice_changes_nothing(database_url):
    engine = database.connect(database_url)
    with database.transaction(engine) as connection:
        connection.execute(audit_log.insert(), entry())
    migrations.upgrade(database_url)
    with database.transaction(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(audit_log)) == 1
    engine.dispose()


def test_the_migrations_and_the_code_describe_the_same_tables(database_url):
    assert migrations.check(database_url) == []


def test_a_column_an_index_or_a_type_that_differs_is_named_by_the_check(database_url):
    engine = database.connect(database_url)
    with database.transaction(engine) as connection:
        connection.execute(sa.text("ALTER TABLE tenant_config ADD COLUMN colour TEXT"))
        connection.execute(sa.text("DROP INDEX ix_audit_log_operation"))
    engine.dispose()
    differences = "\n".join(migrations.check(database_url))
    assert "colour" in differences
    assert "ix_audit_log_operation" in differences


def test_a_database_that_is_behind_is_told_to_upgrade(empty_database_url):
    assert migrations.check(empty_database_url) == [
        f"the database is at revision none, this opsdash expects {migrations.head()}; run: opsdash db upgrade"
    ]


def test_a_database_of_a_newer_opsdash_is_left_alone(database_url):
    engine = database.connect(database_url)
    with database.transaction(engine) as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(Invalid, match="9999"):
        migrations.upgrade(database_url)


@pytest.mark.long
def test_upgrades_at_the_same_time_make_the_tables_once(empty_database_url):
    program = f"from opsdash.services.database.migrations import upgrade; upgrade({empty_database_url!r})"
    command = [sys.executable, "-W", "error", "-c", program]
    runs = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, errors
    assert migrations.check(empty_database_url) == []


def test_a_migration_that_fails_half_way_leaves_nothing(empty_database_url):
    engine = database.connect(empty_database_url)
    with database.transaction(engine) as connection:  # in the way of the migration's second index
        connection.execute(sa.text("CREATE TABLE other (x INTEGER)"))
        connection.execute(sa.text("CREATE INDEX ix_audit_log_operation ON other (x)"))
    engine.dispose()
    with pytest.raises(sa.exc.DBAPIError) if "postgres" in empty_database_url else pytest.raises(Unavailable):
        migrations.upgrade(empty_database_url)
    assert tables(empty_database_url) == {"other"}


def test_an_application_that_shares_the_database_keeps_its_own_tables(empty_database_url):
    engine = database.connect(empty_database_url)
    with database.transaction(engine) as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('the-applications')"))
        tenant_config.create(connection)
        connection.execute(tenant_config.insert(), {"tenant_id": "acme", "name": "Acme", "api_key": "k-123"})
    migrations.upgrade(empty_database_url)
    assert migrations.check(empty_database_url) == []
    migrations.downgrade(empty_database_url, "base")
    with database.transaction(engine) as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "the-applications"
        assert connection.scalar(sa.select(tenant_config.c.api_key)) == "k-123"
    engine.dispose()


def test_a_password_with_a_percent_sign_migrates(empty_postgres_url):
    engine = database.connect(empty_postgres_url)
    with database.transaction(engine) as connection:
        connection.execute(sa.text("CREATE ROLE percent LOGIN SUPERUSER PASSWORD '100%d%(x)s@/'"))
    url = sa.make_url(empty_postgres_url).set(username="percent", password="100%d%(x)s@/")
    migrations.upgrade(url.render_as_string(hide_password=False))
    with database.transaction(engine) as connection:
        connection.execute(sa.text("REASSIGN OWNED BY percent TO postgres"))
        connection.execute(sa.text("DROP ROLE percent"))
    engine.dispose()


def test_migrating_prints_and_logs_nothing_and_leaves_logging_as_it_was(empty_sqlite_url, capfd):
    before = (list(logging.root.handlers), logging.root.level, logging.getLogger("celery").disabled)
    migrations.upgrade(empty_sqlite_url)
    migrations.check(empty_sqlite_url)
    assert capfd.readouterr() == ("", "")
    assert (list(logging.root.handlers), logging.root.level, logging.getLogger("celery").disabled) == before


@pytest.mark.long
def test_the_alembic_command_works_in_a_checkout(empty_database_url):
    environment = os.environ | {"OPSDASH_DATABASE_URL": empty_database_url}

    def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "alembic", *arguments]
        return programs.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert alembic("upgrade", "head").returncode == 0
    assert "No new upgrade operations detected" in alembic("check").stdout
    assert migrations.current(empty_database_url) == migrations.head()
    assert "CREATE TABLE audit_log" in alembic("upgrade", "head", "--sql").stdout
    environment["OPSDASH_DATABASE_URL"] = "mysql://root:hunter2@db/x"
    wrong = alembic("upgrade", "head")
    assert "OPSDASH_DATABASE_URL" in wrong.stdout + wrong.stderr
    assert "hunter2" not in wrong.stdout + wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_no_ini_file_holds_a_database_url():
    config = Config(str(ROOT / "alembic.ini"))
    assert config.get_main_option("sqlalchemy.url") is None


def test_the_newest_entries_come_from_the_descending_index(engine):
    ddl = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'ix_audit_log_timestamp'",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_audit_log_timestamp'",
    }
    with database.transaction(engine) as connection:
        assert "DESC" in connection.scalar(sa.text(ddl[engine.dialect.name]))


def test_a_time_comes_back_as_the_same_instant_aware_and_in_utc(engine):
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.transaction(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SET TIME ZONE 'America/New_York'"))
        connection.execute(audit_log.insert(), entry(timestamp=moment))
        read = connection.scalar(sa.select(audit_log.c.timestamp))
    assert read == moment
    assert read.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(engine):
    naive = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 - what is tested
    with pytest.raises(sa.exc.StatementError, match="without a zone"), database.transaction(engine) as connection:
        connection.execute(audit_log.insert(), entry(timestamp=naive))


def test_a_status_outside_the_five_is_refused_by_the_database(engine):
    with pytest.raises(sa.exc.IntegrityError), database.transaction(engine) as connection:
        connection.execute(audit_log.insert(), entry(status="perhaps"))


def test_the_same_request_is_never_recorded_twice(engine):
    first = entry()
    with database.transaction(engine) as connection:
        connection.execute(audit_log.insert(), first)
    with pytest.raises(sa.exc.IntegrityError), database.transaction(engine) as connection:
        connection.execute(audit_log.insert(), entry(request_id=first["request_id"]))


def test_a_tenant_needs_no_more_than_an_id_and_a_name(engine):
    with database.transaction(engine) as connection:
        connection.execute(sa.text("INSERT INTO tenant_config (tenant_id, name) VALUES ('acme', 'Acme')"))
        row = connection.execute(sa.select(tenant_config)).one()
    assert (row.enabled, row.settings, row.api_key) == (True, {}, None)
    assert abs(datetime.now(UTC) - row.updated_at) < timedelta(minutes=1)


def test_a_database_without_tables_says_which_command_makes_them(empty_database_url):
    engine = database.connect(empty_database_url)
    with fails(Unavailable, hint="Run: opsdash db upgrade"), database.transaction(engine) as connection:
        connection.execute(sa.select(audit_log))
    engine.dispose()


def test_a_stopped_postgres_is_unavailable_and_the_message_shows_no_password(postgres, postgres_url):
    engine = database.connect(postgres_url)
    with database.transaction(engine) as connection:
        connection.execute(sa.select(audit_log))
    postgres.stop()
    with pytest.raises(Unavailable) as caught, database.transaction(engine) as connection:
        connection.execute(sa.select(audit_log))
    assert (caught.value.changed, caught.value.silent) == ("nothing", True)
    message = str(caught.value)
    assert "Connection refused" in message or "server closed the connection" in message
    assert f"127.0.0.1:{postgres.port}/" in message
    assert postgres.password not in message
    assert "\n" not in message
    postgres.start()
    with database.transaction(engine) as connection:  # the same engine recovers by itself
        connection.execute(sa.select(audit_log))
    engine.dispose()


def test_a_connection_lost_during_the_commit_is_uncertain(postgres_url):
    engine = database.connect(postgres_url)

    def write_and_lose_the_connection() -> None:
        with database.transaction(engine) as connection, database.transaction(engine) as other:
            connection.execute(audit_log.insert(), entry())
            victim = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": victim})
            there = sa.text("SELECT pg_stat_clear_snapshot(), count(*) FROM pg_stat_activity WHERE pid = :pid")
            assert until(lambda: other.execute(there, {"pid": victim}).one()[1] == 0)

    with fails(Uncertain, changed="perhaps"):
        write_and_lose_the_connection()
    engine.dispose()


def test_a_statement_that_takes_too_long_is_ended_and_told(postgres_url, monkeypatch):
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT_S", 1)
    engine = database.connect(postgres_url)
    with pytest.raises(Unavailable, match="statement timeout"), database.transaction(engine) as connection:
        connection.execute(sa.text("SELECT pg_sleep(20)"))
    engine.dispose()


def test_a_database_whose_connections_are_all_busy_is_unavailable(sqlite_url, monkeypatch):
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 0.1)
    engine = database.connect(sqlite_url)

    def take_every_connection() -> None:
        with ExitStack() as busy:
            for _ in range(100):
                busy.enter_context(database.transaction(engine))

    with pytest.raises(Unavailable, match="all connections are busy"):
        take_every_connection()
    engine.dispose()


def test_sqlite_lets_readers_read_while_one_writes_and_keeps_foreign_keys(sqlite_url):
    engine = database.connect(sqlite_url)
    with database.transaction(engine) as writer, database.transaction(engine) as reader:
        writer.execute(audit_log.insert(), entry())
        assert reader.execute(sa.select(audit_log)).all() == []
        assert reader.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert reader.scalar(sa.text("PRAGMA foreign_keys")) == 1
    engine.dispose()


@pytest.mark.long
def test_a_postgres_that_hangs_is_unavailable_within_the_timeouts(postgres, postgres_url, monkeypatch):
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_S", 2)
    engine = database.connect(postgres_url)
    postgres.freeze()
    began = time.monotonic()
    with fails(Unavailable, silent=True, retry=True), database.transaction(engine) as connection:
        connection.execute(sa.select(audit_log))
    assert time.monotonic() - began < database.CONNECT_TIMEOUT_S + 3
    postgres.thaw()
    engine.dispose()


def test_a_wrong_password_is_told_in_postgres_own_words(postgres_url):
    engine = database.connect(sa.make_url(postgres_url).set(password="wrong-one").render_as_string(hide_password=False))
    with pytest.raises(Unavailable, match="password authentication failed") as caught, database.transaction(engine):
        pass
    assert "wrong-one" not in str(caught.value)
    engine.dispose()


def test_a_user_without_rights_is_told_so(postgres_url):
    owner = database.connect(postgres_url)
    with database.transaction(owner) as connection:
        connection.execute(sa.text("CREATE ROLE reader LOGIN PASSWORD 'reader'"))
    url = sa.make_url(postgres_url).set(username="reader", password="reader")
    engine = database.connect(url.render_as_string(hide_password=False))
    with pytest.raises(Unavailable, match="permission denied"), database.transaction(engine) as connection:
        connection.execute(sa.select(audit_log))
    engine.dispose()
    with database.transaction(owner) as connection:
        connection.execute(sa.text("DROP ROLE reader"))
    owner.dispose()


def test_a_locked_sqlite_file_makes_the_second_writer_wait(sqlite_url):
    engine = database.connect(sqlite_url)
    holder = sqlite3.connect(sa.make_url(sqlite_url).database, isolation_level=None, check_same_thread=False)
    with closing(holder):
        holder.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.5, lambda: holder.execute("COMMIT"))
        release.start()
        with database.transaction(engine) as connection:
            connection.execute(audit_log.insert(), entry())
        release.join()
    engine.dispose()


def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    path = tmp_path / "notes.sqlite3"
    path.write_text("These are my notes. " * 100)
    engine = database.connect(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match="not a database"), database.transaction(engine):
        pass
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "mysql://root:hunter2@db/x",
        "postgresql+asyncpg://root:hunter2@db/x",
        "postgresql://root:hunter2@db",
        "postgresql://root:hunter2@db:port/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://folder/hunter2.sqlite3",
        "nodriver+hunter2",
    ],
)
def test_a_wrong_database_url_is_one_line_that_names_the_setting_and_repeats_no_secret(url):
    with fails(Invalid, setting="OPSDASH_DATABASE_URL") as caught:
        database.connect(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_none_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match=rf"there is no folder {tmp_path}/file"):
        database.connect(f"sqlite:///{tmp_path}/file/opsdash.sqlite3")


def test_the_default_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    database.connect(Settings.from_env({"OPSDASH_REDIS_URL": "redis://localhost"}).database_url).dispose()
    assert (tmp_path / "share" / "opsdash").is_dir()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_usual_spelling_of_a_postgres_url_uses_the_installed_driver(scheme):
    parsed = database.parse(f"{scheme}://maria:pw@db.example:6432/ops")
    assert parsed.drivername == "postgresql+psycopg2"
    assert database.label(parsed) == "db.example:6432/ops"
