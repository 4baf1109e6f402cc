"""What a command reads without SQLAlchemy is what the console reads with it; what it can not, the console reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
import sqlalchemy as sa
from support.tenants import add, change, sync

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.model import Snapshot, Status
from opsdash.services.audit import reaper
from opsdash.services.audit.entries import WRITTEN
from opsdash.services.console import Console
from opsdash.services.database import plain
from opsdash.services.database.tables import audit_log
from opsdash.services.once import made

DATABASE = (
    *("operations", "audit_head", "database_error", "silent", "tenants", "tenant_drift", "tenants_in_use"),
    *("tenants_error", "spooled"),
)


@pytest.fixture
def settings(settings_for: Callable[..., Settings], database_url: str) -> Settings:
    return settings_for(database_url=database_url)


@pytest.fixture
def console(settings: Settings) -> Any:
    made = assemble(settings)
    yield made
    made.close()


def both(settings: Settings) -> tuple[Snapshot, Snapshot, bool]:
    """A brief snapshot, a whole one, and whether the brief one did without the engine."""
    brief, whole = assemble(settings), assemble(settings)
    try:
        return brief.snapshot(brief=True), whole.snapshot(), made(brief.services, "engine") is None
    finally:
        brief.close()
        whole.close()


def same(settings: Settings, *, without_engine: bool) -> Snapshot:
    brief, whole, did = both(settings)
    assert [getattr(brief, name) for name in DATABASE] == [getattr(whole, name) for name in DATABASE]
    assert did is without_engine
    return brief


def test_an_empty_deployment_is_read_alike(settings: Settings) -> None:
    assert same(settings, without_engine=True).operations == ()


def test_the_newest_entries_are_read_alike(settings: Settings, console: Console) -> None:
    for number in range(25):
        note = opsdash.AddNote(text=f"line {number} %s ? é '\"{{}}")
        console.run(note, actor="maria", confirm="YES")
    console.audit.refuse(opsdash.AddNote(text="no"), settings.actor("\u202eeve", surface="cli"), "not allowed")
    console.audit.begin(opsdash.AddNote(text="now"), settings.actor("maria", surface="cli"))  # in progress
    found = same(settings, without_engine=True)
    assert len(found.operations) == 20
    assert [entry.status for entry in found.operations[:2]] == [Status.IN_PROGRESS, Status.REFUSED]
    assert found.audit_head.startswith("26:")


def test_an_entry_that_opsdash_did_not_write_is_read_alike(settings: Settings, console: Console) -> None:
    row = {"id": uuid4(), "timestamp": datetime.now(UTC), "user": "x", "operation": "y", "status": "success"}
    with console.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), {**row, "details": [1, 2], "request_id": uuid4()})
    assert same(settings, without_engine=True).operations[0].details["message"].endswith("not a JSON object.")


def test_the_tenants_are_compared_alike(settings: Settings, console: Console) -> None:
    add(console, "a", "b", "c", updated_at=datetime.now(UTC) - timedelta(days=30))
    assert same(settings, without_engine=True).tenant_drift.differs
    sync(console)
    assert not same(settings, without_engine=True).tenant_drift.differs
    change(console, "b", name="Other", updated_at=datetime.now(UTC))
    found = same(settings, without_engine=True)
    assert found.tenant_drift.reasons == ("tenants were changed in the database",)
    assert found.tenants == 3


def test_another_table_and_other_names_are_read_alike(settings: Settings, console: Console) -> None:
    with console.engine.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE "Customer" ("Key" TEXT, changed TIMESTAMP)')
        connection.exec_driver_sql("INSERT INTO \"Customer\" VALUES ('a', '2026-01-02 03:04:05.6')")
    for columns in (
        (("tenant_id", "Key"), ("updated_at", "changed"), ("name", "")),
        (("tenant_id", "Key"), ("updated_at", "")),
    ):
        theirs = replace(settings, tenant_table="Customer", tenant_columns=columns)
        found = same(theirs, without_engine=True)
        assert (found.tenants, found.tenants_in_use) == (1, True)


def test_what_is_missing_is_said_as_ever(settings: Settings, console: Console) -> None:
    with console.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE tenant_config")
    assert same(settings, without_engine=False).tenants == 0  # its own table, and no setting names it
    with console.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE audit_log")
    assert "opsdash db upgrade" in same(settings, without_engine=False).database_error


def test_a_time_that_is_none_is_read_by_the_engine(settings: Settings, console: Console) -> None:
    with console.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE shop (tenant_id TEXT, updated_at TEXT)")
        connection.exec_driver_sql("INSERT INTO shop VALUES ('a', 'yesterday')")
    found, whole, _ = both(replace(settings, tenant_table="shop"))
    assert (found.tenants, found.tenants_error) == (whole.tenants, whole.tenants_error) == (1, "")


@pytest.mark.parametrize("owed", ["outbox", "hold", "approval", "dead"])
def test_what_has_to_be_written_is_written(
    settings: Settings, console: Console, owed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, keys = console.broker.client, console.broker.keys
    if owed == "outbox":
        client.xadd(keys.outbox, {"anything": "1"})
    elif owed == "hold":
        client.hset(keys.hold_ended, "t:1", "{}")
    elif owed == "approval":
        client.zadd(keys.approvals, {"0" * 32: 1})
    else:
        console.audit.begin(opsdash.AddNote(text="it died"), settings.actor("maria", surface="cli"))
        monkeypatch.setattr(reaper, "ALIVE_S", -5)
    brief = assemble(settings)
    try:
        brief.snapshot(brief=True)
        assert made(brief.services, "engine") is not None
    finally:
        brief.close()


def test_keys_of_another_type_are_no_reason_to_fail(settings: Settings, console: Console) -> None:
    console.broker.client.set(console.broker.keys.hold_ended, "not a hash")
    assert same(settings, without_engine=False).database_error == ""


def test_a_schedule_that_is_paused_for_long_does_not_need_the_engine(settings: Settings, console: Console) -> None:
    console.broker.client.hset(console.broker.keys.schedules_paused, "nightly", '{"by": "maria"}')
    same(settings, without_engine=True)


def test_a_second_snapshot_is_the_consoles_own(settings: Settings) -> None:
    console = assemble(settings)
    try:
        console.snapshot()
        client = console.broker.client
        assert isinstance(client, redis.Redis)
        assert console.snapshot(brief=True).database_age_s is not None
        assert made(console.services, "engine") is not None
    finally:
        console.close()


def test_nothing_is_written_by_a_reading_connection(settings: Settings) -> None:
    with pytest.raises(plain.NotPlainError), plain.reading(settings.database_url) as database:
        database.rows("INSERT INTO audit_head (id, seq, seal) VALUES (7, 7, '')")
    with plain.reading(settings.database_url) as database:
        assert database.rows("SELECT count(*) FROM audit_head WHERE id = 7") == [(0,)]


def test_the_columns_are_those_of_the_table() -> None:
    assert tuple(column.name for column in audit_log.c if column.server_default is None) == WRITTEN


@pytest.mark.parametrize(
    ("url", "usual"),
    [
        ("sqlite:////var/lib/opsdash/log.sqlite3", True),
        (" sqlite:///log.sqlite3 ", True),
        ("sqlite:////a?mode=ro", False),
        ("sqlite:///file:a?uri=true", False),
        ("sqlite:///:memory:", False),
        ("sqlite://", False),
        ("postgresql://maria:s%40fe@db-1.example:5433/ops", True),
        ("postgres://db/ops", True),
        ("postgresql+psycopg2://db/ops", True),
        ("postgresql://db/ops?sslmode=require", False),
        ("postgresql://a@b@db/ops", False),
        ("postgresql:///ops", False),
        ("mysql://db/ops", False),
    ],
)
def test_only_usual_addresses_are_read_by_the_driver(url: str, usual: bool) -> None:
    assert plain.is_usual(url) is usual
