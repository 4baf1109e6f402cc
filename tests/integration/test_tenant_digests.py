"""A sync by digests reads what differs, and nothing else; what Redis keeps for that reveals no secret."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from support.tenants import add, change, execute, preview, remove, stored, sync

import opsdash
from opsdash.services.console import Console
from opsdash.services.queues import lock
from opsdash.services.queues.lock import QueueLock
from opsdash.services.tenants import digests, kept
from opsdash.services.tenants.digests import DigestedRows

TENANTS = [f"t{at:03}" for at in range(200)]
SECRET = "hunter2-and-more"


@pytest.fixture
def console(console_for: Callable[..., Console], postgres_url: str) -> Console:
    made = console_for(database_url=postgres_url)
    add(made, *TENANTS, api_key=SECRET, settings={"smtp": {"password": SECRET}})
    sync(made)
    return made


@pytest.fixture
def read(console: Console, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tenants whose rows were read since."""
    found, chunks = list[str](), DigestedRows.chunks

    def noted(self: DigestedRows, buckets: Collection[int] | None = None) -> Iterator[Any]:
        for rows, of_rows in chunks(self, buckets):
            found.extend(row["tenant_id"] for row in rows)
            yield rows, of_rows

    monkeypatch.setattr(DigestedRows, "chunks", noted)
    return found


def test_where_nothing_has_changed_no_row_is_read(console: Console, read: list[str]) -> None:
    assert sync(console).message == "Synced 0 tenant configs; 200 unchanged."
    assert "0 will be added, 0 will be changed, 200 do not change" in preview(console)
    assert read == []


def test_of_one_change_in_the_database_only_its_neighbours_are_read(console: Console, read: list[str]) -> None:
    change(console, "t007", name="Other")
    assert sync(console).message == "Synced 1 tenant config; 199 unchanged."
    assert "t007" in read
    assert len(read) < 10
    assert stored(console, "t007")["name"] == "Other"
    read.clear()
    remove(console, "t008")
    add(console, "new")
    assert sync(console).message == "Synced 1 tenant config; 199 unchanged."
    assert len(read) < 10
    assert preview(console).count("t008") == 1, "an orphan"
    read.clear()
    sync(console, remove_orphans=True)
    sync(console)
    assert read == []


@pytest.mark.parametrize("how", ["lost", "changed", "by one character", "another type", "index"])
def test_a_key_that_somebody_changed_is_previewed_and_written_again(
    console: Console, read: list[str], how: str
) -> None:
    client, key = console.broker.client, "tenant_config:t007"
    text = client.get(key)
    match how:
        case "lost":
            client.delete(key)
        case "changed":
            client.set(key, "by hand")
        case "by one character":
            client.setrange(key, 30, "#")
        case "another type":
            client.delete(key)
            client.rpush(key, "x")
        case "index":
            client.hset(console.broker.keys.tenants, "t007", "other")
    found = console.preview(opsdash.SyncTenantConfigs()).values()
    assert (found["added"] + found["changed"], found["unchanged"]) == ((0, 200) if how == "index" else (1, 199))
    assert sync(console).message == "Synced 1 tenant config; 199 unchanged."
    assert client.get(key) == text
    assert len(read) < 10


@pytest.mark.parametrize("what", ["secret", "rules", "settings of the session", "column", "lost", "foreign"])
def test_what_a_digest_depends_on_makes_all_be_read_and_compared(
    console: Console, read: list[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, keys = console.broker.client, console.broker.keys
    match what:
        case "secret":
            object.__setattr__(console.tenants, "secret", lambda: b"another one, long enough")
        case "rules":
            monkeypatch.setattr(kept, "rules", lambda: "of another version")
        case "settings of the session":
            monkeypatch.setattr(digests, "_SETTINGS", digests._SETTINGS[1:])
        case "column":
            execute(console, "ALTER TABLE tenant_config ALTER COLUMN settings TYPE text")
        case "lost":
            client.delete(keys.tenants_buckets)
        case "foreign":
            client.delete(keys.tenants_buckets)
            client.set(keys.tenants_buckets, "somebody else's")
    assert sync(console).affected == (200 if what == "secret" else 0)
    assert sorted(read) == TENANTS
    read.clear()
    assert sync(console).message == "Synced 0 tenant configs; 200 unchanged."
    assert read == []


def test_a_row_that_can_not_be_written_is_read_each_time(console_for, postgres_url: str) -> None:
    console = console_for(database_url=postgres_url)
    add(console, "a", "b", settings={"a": 1})
    sync(console)
    execute(console, "UPDATE tenant_config SET settings = '[1]' WHERE tenant_id = 'b'")
    for _ in range(2):
        effect = sync(console)
        assert effect.message == "Synced 0 tenant configs; 1 unchanged; 1 failed: b (settings must be a JSON object)."
    assert len(console.broker.client.hkeys(console.broker.keys.tenants_buckets)) == 1, "of a alone"


def test_redis_holds_no_digest_of_a_secret_but_an_hmac_of_it(console: Console) -> None:
    client, keys = console.broker.client, console.broker.keys
    before = client.hgetall(keys.tenants_buckets)
    with console.tenants.source.digested() as table:
        assert table is not None
        made = table.digests()
    assert {str(number) for number in made} == set(before)
    text = json.dumps(before)
    assert SECRET not in text
    for digest in made.values():
        assert all(str(abs(number)) not in text and f"{number:x}" not in text for number in digest[1:])
    object.__setattr__(console.tenants, "secret", lambda: b"another one, long enough")
    sync(console)
    after = client.hgetall(keys.tenants_buckets)
    assert all(after[number].split()[0] != before[number].split()[0] for number in before)


def test_where_the_database_makes_no_digests_every_row_is_read(
    console: Console, read: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(digests, "_SETTINGS", ("no_such_setting",))
    change(console, "t007", name="Other")
    with caplog.at_level(logging.WARNING):
        assert sync(console).message == "Synced 1 tenant config; 199 unchanged."
        assert "0 will be changed, 200 do not change" in preview(console)
    assert caplog.text.count("this database makes no digests") == 1
    assert read == []


def test_where_the_digests_take_too_long_every_row_is_read(console: Console, read: list[str]) -> None:
    @sa.event.listens_for(console.engine, "before_cursor_execute", retval=True)
    def fail(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> tuple[str, Any]:
        return ("SELECT 1 / 0", {}) if "GROUP BY" in statement else (statement, values)

    change(console, "t007", name="Other")
    try:
        assert sync(console).message == "Synced 1 tenant config; 199 unchanged."
    finally:
        sa.event.remove(console.engine, "before_cursor_execute", fail)
    assert sorted(read) == TENANTS
    assert sync(console).message == "Synced 0 tenant configs; 200 unchanged."
    assert sorted(read) == TENANTS, "not once more"


def test_a_table_whose_digests_take_longer_than_the_lease_is_synced(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made, keep, renewed = console.broker.client, DigestedRows.digests, QueueLock.keep, threading.Event()
    monkeypatch.setattr(lock, "LEASE_S", 0.4)

    def kept_on(self: QueueLock) -> None:
        keep(self)
        client.pexpire(self.key, 10_000)  # what follows has the time that it has outside a test
        renewed.set()

    monkeypatch.setattr(QueueLock, "keep", kept_on)

    def slow(self: DigestedRows) -> Any:
        assert renewed.wait(20)
        return made(self)

    monkeypatch.setattr(DigestedRows, "digests", slow)
    change(console, "t007", name="Other")
    assert sync(console).message == "Synced 1 tenant config; 199 unchanged."


def test_buckets_without_a_row_are_not_kept(console: Console) -> None:
    remove(console, *TENANTS[1:])
    sync(console, remove_orphans=False)
    change(console, "t000", name="Other")
    sync(console)
    assert console.broker.client.hlen(console.broker.keys.tenants_buckets) == 1


def test_a_large_bucket_is_read_each_time_and_the_steps_stay_small(
    console_for, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "BUCKETS", 8)
    monkeypatch.setattr(kept, "MOST_ROWS", 20)
    console = console_for(database_url=postgres_url)
    add(console, *TENANTS, settings={"a": "x" * 2_000})
    sync(console)
    assert sync(console).message == "Synced 0 tenant configs; 200 unchanged."
    assert all(value.count("\n") <= 21 for value in console.broker.client.hvals(console.broker.keys.tenants_buckets))
