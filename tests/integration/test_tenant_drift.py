"""Drift: that database and Redis differ is seen without reading either as a whole; what is not seen is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from support.tenants import add, change, execute, remove, stored, sync

import opsdash
from opsdash.cli import cli
from opsdash.errors import OpsdashError
from opsdash.model import TenantDrift
from opsdash.services.console import Console
from opsdash.services.tenants import index
from opsdash.services.tenants.digests import DigestedRows
from opsdash.services.tenants.source import TableSource

EARLIER = datetime.now(UTC) - timedelta(days=30)


def drift(console: Console) -> TenantDrift:
    found = console.snapshot().tenant_drift
    assert found is not None
    return found


@pytest.fixture
def synced(console: Console) -> Console:
    """Three tenants, all the same on both sides."""
    add(console, "a", "b", "c", updated_at=EARLIER)
    assert drift(console).reasons == ("no sync is known: none was run, or Redis was emptied",)
    sync(console)
    assert drift(console).message == ""
    assert not drift(console).differs
    return console


def test_no_tenants_and_no_sync_are_no_difference(console: Console):
    assert not drift(console).differs
    assert drift(console).since is None


def test_a_changed_row_is_seen_with_the_time_of_the_change(synced: Console):
    at = datetime.now(UTC)
    change(synced, "b", name="Other", updated_at=at)
    found = drift(synced)
    assert (found.reasons, found.since) == (("tenants were changed in the database",), at)
    assert found.message == (
        f"Tenant configs in database and Redis differ since {at:%Y-%m-%d %H:%M:%S} UTC:"
        " tenants were changed in the database."
    )
    sync(synced)
    assert not drift(synced).differs


def test_a_change_that_was_committed_late_is_seen_although_others_are_newer(synced: Console):
    change(synced, "a", updated_at=EARLIER + timedelta(days=2))
    sync(synced)
    began = datetime.now(UTC)
    change(synced, "b", updated_at=EARLIER + timedelta(days=1))
    found = drift(synced)
    assert found.reasons == ("tenants were changed in the database",)
    assert found.since >= began, "when it was first seen: no time of change is newer than the sync"


def test_an_added_row_is_seen(synced: Console):
    add(synced, "d", "e", updated_at=EARLIER)
    assert drift(synced).reasons == ("2 tenants more in the database",)


def test_a_removed_row_is_seen_and_then_its_key_until_that_is_removed_too(synced: Console):
    remove(synced, "c")
    assert drift(synced).reasons == ("1 tenant fewer in the database",)
    sync(synced)
    (orphan,) = drift(synced).differences
    assert (orphan.kind, orphan.number, drift(synced).since) == ("orphaned", 1, None), "nothing changed since"
    assert drift(synced).message.startswith("Tenant configs as of the last sync: 1 orphaned key in Redis")
    sync(synced, remove_orphans=True)
    assert not drift(synced).differs


def test_one_removed_and_another_added_is_seen(synced: Console):
    remove(synced, "c")
    add(synced, "d", updated_at=EARLIER - timedelta(seconds=1))
    assert drift(synced).reasons == ("tenants were changed in the database",)


@pytest.mark.parametrize("value", [None, "{}", "not text \x00"])
def test_a_key_that_was_removed_or_written_over_by_hand_is_seen_and_named(synced: Console, value: str | None):
    key = "tenant_config:b"
    synced.broker.client.delete(key) if value is None else synced.broker.client.set(key, value)
    assert drift(synced).reasons == ("keys in Redis are not as they were written: b",)
    assert drift(synced).since is not None
    sync(synced)
    assert not drift(synced).differs


def test_an_emptied_redis_is_seen(synced: Console):
    synced.broker.client.flushall()
    assert drift(synced).reasons == ("no sync is known: none was run, or Redis was emptied",)


def test_a_lost_index_is_seen(synced: Console):
    synced.broker.client.delete(synced.broker.keys.tenants)
    assert drift(synced).reasons == ("what opsdash knows of the keys in Redis was changed outside of it",)
    sync(synced)
    assert not drift(synced).differs


def test_a_row_that_could_not_be_read_is_a_difference_until_it_can(console_for: Callable[..., Console]):
    console = console_for()
    add(console, "a", "b c")
    sync(console)
    (unreadable,) = drift(console).differences
    assert (unreadable.kind, unreadable.number) == ("unreadable", 1)
    assert (drift(console).changed, drift(console).since) == (False, None), "nothing changed since"
    assert "since" not in drift(console).message
    change(console, "a", name="Other", updated_at=datetime.now(UTC))
    assert [one.kind for one in drift(console).differences] == ["rows_changed", "unreadable"]
    assert drift(console).since is not None
    sync(console)
    remove(console, "b c")
    sync(console)
    assert not drift(console).differs


def test_what_changes_while_a_sync_reads_is_a_difference_afterwards(synced: Console, monkeypatch: pytest.MonkeyPatch):
    def change_behind(chunks: Any) -> Any:
        def read(*given: Any) -> Iterator[Any]:
            yield from chunks(*given)
            change(synced, "a", name="Late", updated_at=EARLIER + timedelta(days=1))

        return read

    synced.broker.client.delete(synced.broker.keys.tenants_buckets)
    for source in (TableSource, DigestedRows):
        monkeypatch.setattr(source, "chunks", change_behind(source.chunks))
    sync(synced)
    assert stored(synced, "a")["name"] == "Acme"
    assert drift(synced).differs


def test_since_when_is_the_same_for_every_console_and_ends_with_the_difference(
    synced: Console, console_for: Callable[..., Console]
):
    text = synced.broker.client.getset("tenant_config:a", "{}")
    since = drift(synced).since
    other = console_for(database_url=synced.settings.database_url)
    assert since is not None
    assert drift(other).since == since
    synced.broker.client.set("tenant_config:a", text)
    assert drift(synced).since is None
    synced.broker.client.set("tenant_config:a", "{}")
    assert drift(synced).since > since


def test_many_keys_are_compared_a_few_at_each_look(
    console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index, "LOOKED_AT", 100)
    console = console_for()
    add(console, *(f"t{at:04}" for at in range(3_000)))
    sync(console)
    assert not drift(console).differs
    for at in range(1_000, 1_020):
        console.broker.client.delete(f"tenant_config:t{at}")
    looks = 0
    while not drift(console).differs:
        looks += 1
        assert looks < 60
    while len(drift(console).altered) < 5:
        looks += 1
        assert looks < 60
    assert drift(console).message.count("t10") == 5, "a few are named, and kept"
    sync(console)
    assert not drift(console).differs


def test_what_is_not_seen_is_said(console_for: Callable[..., Console], sqlite_url: str):
    console = console_for(database_url=sqlite_url)
    add(console, "a", updated_at=EARLIER)
    sync(console)
    execute(console, "UPDATE tenant_config SET name = 'Other'")
    assert not drift(console).differs
    assert "changed without its updated_at is not seen" in drift(console).unseen
    assert console.preview(opsdash.SyncTenantConfigs()).values()["changed"] == 1
    untimed = console_for(database_url=sqlite_url, tenant_columns=(("updated_at", ""),))
    sync(untimed)
    assert "changed in place is not seen" in drift(untimed).unseen
    remove(untimed, "a")
    assert drift(untimed).differs


def test_time_columns_of_any_kind_are_understood_or_left_out_in_a_line(
    console_for: Callable[..., Console], postgres_url: str, caplog: pytest.LogCaptureFixture
):
    for kind, value, timed in (
        ("TIMESTAMP", "now()", True),
        ("DATE", "now()", True),
        ("BIGINT", "1700000000", False),
        ("TEXT", "'2026-01-01'", False),
    ):
        table = f"host_{kind.lower()}"
        console = console_for(database_url=postgres_url, tenant_table=table)
        columns = "tenant_id INT, name TEXT, enabled BOOL, settings JSON, api_key TEXT"
        execute(console, f"CREATE TABLE {table} ({columns}, updated_at {kind})")
        execute(console, f"INSERT INTO {table} VALUES (1, 'A', true, '{{}}', NULL, {value})")
        assert sync(console).ok, kind
        assert bool(drift(console).mark) is timed
        assert not drift(console).differs
        execute(console, f"DELETE FROM {table}")
        assert drift(console).differs
        console.broker.client.flushall()
    messages = [record.message for record in caplog.records if "host_" in record.message]
    assert [kind for message in messages for kind in ("host_bigint", "host_text") if kind in message] == [
        "host_bigint",
        "host_text",
    ]
    assert len(messages) == 2


def test_nonsense_in_what_the_last_sync_left_reads_as_no_sync(synced: Console):
    fields = ("rows", "keys", "newest", "at", "unreadable", "noticed")
    for value in ("nonsense", "", "-1", "²"):
        synced.broker.client.hset(synced.broker.keys.tenants_synced, mapping=dict.fromkeys(fields, value))
        assert drift(synced).reasons == ("no sync is known: none was run, or Redis was emptied",)


def test_keys_of_another_type_in_the_place_of_opsdash_s_own_are_a_difference_and_no_outage(synced: Console):
    client, keys = synced.broker.client, synced.broker.keys
    client.delete(keys.tenants)
    client.set(keys.tenants, "x")
    assert drift(synced).reasons == ("what opsdash knows of the keys in Redis was changed outside of it",)
    client.delete(keys.tenants_synced)
    client.set(keys.tenants_synced, "x")
    assert drift(synced).reasons == ("no sync is known: none was run, or Redis was emptied",)
    assert not synced.snapshot().tenants_error
    with pytest.raises(OpsdashError, match="WRONGTYPE"):
        sync(synced)
    client.delete(keys.tenants, keys.tenants_synced)
    assert sync(synced).ok


def test_status_says_it_in_one_line(synced: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPSDASH_REDIS_URL", synced.settings.redis_url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", synced.settings.database_url)

    def told() -> list[str]:
        result = CliRunner().invoke(cli, ["status"])
        assert result.exit_code == 0
        return [line for line in result.stderr.splitlines() if "Tenant configs" in line]

    assert told() == []
    add(synced, "d")
    (line,) = told()
    assert line.startswith("opsdash: Tenant configs in database and Redis differ since ")
    assert line.endswith(": 1 tenant more in the database.")
