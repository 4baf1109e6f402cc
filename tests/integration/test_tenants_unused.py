"""Where there are no tenants, nothing is said of them but how they come; where they come up, everything is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.cli import off_a_terminal
from support.services import Valkey, until
from support.tenants import add, remove, stored, sync

import opsdash
from opsdash.api.metrics import Meter
from opsdash.services.console import Console

ConsoleFor = Callable[..., Console]
TURN_ON = opsdash.SyncTenantConfigs.turn_on


def in_use(console: Console) -> bool | None:
    return console.snapshot().tenants_in_use


def test_tenants_are_in_use_from_the_first_row_on_and_as_long_as_one_has_a_key(console: Console) -> None:
    assert in_use(console) is False
    sync(console)  # it can be run all the same, and nobody has to learn of tenants by that
    assert in_use(console) is False
    add(console, "acme")
    assert in_use(console) is True
    sync(console)
    remove(console, "acme")
    assert in_use(console) is True
    console.run(opsdash.SyncTenantConfigs(remove_orphans=True), actor="maria", confirm="YES", phrase="1")
    assert stored(console, "acme") is None
    assert in_use(console) is False


def test_a_setting_that_names_them_is_use_enough(
    console_for: ConsoleFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_tenants_yet.py").write_text("def rows():\n    return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert in_use(console_for(tenant_source="no_tenants_yet:rows")) is True
    assert in_use(console_for(tenant_columns=(("name", "name"),))) is True
    named = console_for(tenant_table="nowhere")
    assert "nowhere" in named.snapshot().tenants_error, "a table that a setting names must be there"


def test_a_database_without_a_table_of_tenants_has_none(console: Console) -> None:
    with console.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE tenant_config"))
    snapshot = console.snapshot()
    assert (snapshot.tenants_in_use, snapshot.tenants, snapshot.tenants_error) == (False, 0, "")


def test_an_own_table_that_lacks_a_column_is_an_error_and_not_an_absence(console: Console) -> None:
    with console.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE tenant_config"))
        connection.execute(sa.text("CREATE TABLE tenant_config (id INTEGER)"))
    snapshot = console.snapshot()
    assert snapshot.tenants_in_use is None
    assert "lacks a table or column" in snapshot.tenants_error


def test_while_redis_has_never_answered_nobody_knows_whether_there_were_tenants(
    console: Console, valkey: Valkey
) -> None:
    valkey.stop()
    try:
        assert in_use(console) is None
    finally:
        valkey.restore()
    assert until(lambda: in_use(console) is False)


def test_the_command_is_listed_last_with_a_line_on_how_tenants_are_turned_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = off_a_terminal(monkeypatch, capsys)
    everyday, further = shell("--help").out.split("Further commands:")
    assert "sync-tenant" not in everyday.lower()
    assert "sync-tenant-configs" in further
    assert TURN_ON in re.sub(r"\s+", " ", further)


def test_metrics_have_no_series_of_tenants_until_there_are_some(console: Console) -> None:
    meter = Meter(console)
    meter.follow()
    shown = "application/openmetrics-text"
    try:
        console.poller.refresh()
        assert "sync_tenant" not in meter.text(shown)[0].decode()
        assert "opsdash_tenants" not in meter.text(shown)[0].decode()
        add(console, "acme")
        console.poller.refresh()
        assert 'opsdash_operations_total{operation="sync_tenant_configs",status="success"} 0.0' in (
            meter.text(shown)[0].decode()
        )
    finally:
        console.poller.close()
