"""Rows that are not what they should be: each fails alone, is named, and the others are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from support.tenants import add, execute, preview, stored, sync

from opsdash.errors import Unavailable
from opsdash.model import Status
from opsdash.services.console import Console
from opsdash.services.database import engine
from opsdash.services.tenants.redaction import MAX_CONFIG_BYTES

BAD_TEXT = {
    "no JSON": ("{broken", "settings are not valid JSON"),
    "no object": ("[1]", "settings must be a JSON object"),
    "NaN": ('{"a": NaN}', "it contains values that JSON can't represent"),
    "nested without end": ('{"a":' * 60_000 + "1" + "}" * 60_000, "settings are not valid JSON"),
    "a number without end": ('{"a": ' + "9" * 5_000 + "}", "settings are not valid JSON"),
    "half a character": (r'{"a": "\ud800"}', "it contains characters that are not text"),
    "oversized": (json.dumps({"a": "x" * 1_000_000}), "the settings are larger than 1,000,000 characters"),
    "10 MB": (json.dumps({"a": "x" * 10_000_000}), "the settings are larger than 1,000,000 characters"),
    "larger than it looks": (json.dumps({"a": "ä" * 600_000}, ensure_ascii=False), "is larger than 1,000,000 bytes"),
}


@pytest.fixture
def host(console_for: Callable[..., Console], database_url: str) -> Iterator[Console]:
    """A host's own table whose settings are plain text: no database refuses anything that is written there."""
    console = console_for(database_url=database_url, tenant_table="customers", tenant_columns=(("name", "title"),))
    columns = "tenant_id TEXT, title TEXT, enabled TEXT, settings TEXT, api_key TEXT, updated_at TEXT"
    execute(console, f"CREATE TABLE customers ({columns})")
    yield console
    execute(console, "DROP TABLE customers")


def put(host: Console, tenant_id: str | None, **columns: Any) -> None:
    row = {"title": "Acme", "enabled": "true", "settings": "{}", "api_key": None, "updated_at": None, **columns}
    names = ["tenant_id", *row]
    values = ", ".join(f":{name}" for name in names)
    execute(host, f"INSERT INTO customers ({', '.join(names)}) VALUES ({values})", tenant_id=tenant_id, **row)


@pytest.mark.long
def test_settings_that_can_not_be_written_fail_alone_and_are_named(host: Console):
    for name, (settings, _) in BAD_TEXT.items():
        put(host, name.replace(" ", "-"), settings=settings)
    put(host, "A")
    put(host, "z")
    expected = {name.replace(" ", "-"): why for name, (_, why) in BAD_TEXT.items()}
    seen = host.tenants.plan().seen.failed
    fetched = max(len(row["settings"]) for rows in host.tenants.source.chunks() for row in rows)
    assert fetched <= MAX_CONFIG_BYTES, "ten megabytes are not even fetched"
    effect = sync(host)
    assert (effect.affected, effect.ok) == (2, False)
    assert effect.message.startswith(f"Synced 2 tenant configs; {len(BAD_TEXT)} failed: ")
    entry = host.get_recent_operations()[0]
    assert entry.status is Status.FAILURE
    results = entry.details["tenants"]
    assert list(results)[-2:] == ["A", "z"], "the failed ones first"
    for name, why in expected.items():
        assert seen[name] == results[name]
        assert why in results[name], name
        assert stored(host, name) is None
    assert stored(host, "z")["name"] == "Acme"


def test_an_id_that_can_be_no_key_fails_alone(host: Console):
    bad = [None, "", " ", "two words", "tab\t", "line\nbreak", "\x1b[31m", "\x7f", "x" * 201]
    for tenant_id in bad:
        put(host, tenant_id)
    put(host, "a")
    effect = sync(host)
    assert (effect.affected, effect.details["failed"]) == (1, len(bad))
    results = {name: why for name, why in effect.details["tenants"].items() if name != "a"}
    assert set(results) == {"(empty)", *(name[:200] for name in bad if name)}
    assert all("tenant_id must be" in why for why in results.values())
    assert list(host.broker.client.scan_iter("tenant_config:*")) == ["tenant_config:a"]
    assert host.tenants.orphans() == ([], 1)


def test_odd_characters_in_an_id_are_no_reason_to_fail(host: Console):
    odd = ["ä", "名前", "🦆", "a:b", "a*b?[c]", "{tag}", "%s", "-", "x" * 200, "a'b\"c", "..", "\u202ex", "None"]
    for tenant_id in odd:
        put(host, tenant_id)
    assert sync(host).affected == len(odd)
    assert [stored(host, tenant_id)["tenant_id"] for tenant_id in odd] == odd
    execute(host, "DELETE FROM customers")
    assert host.tenants.orphans() == (sorted(odd), len(odd))


def test_an_id_that_comes_twice_is_written_once_and_named(host: Console):
    put(host, "a")
    put(host, "b", title="First")
    put(host, "b", title="Second")
    for written in (2, 0):
        effect = sync(host)
        assert (effect.affected, effect.ok) == (written, False)
        assert effect.details["tenants"]["b"] == "the id comes twice"


def test_a_column_of_text_says_enabled_in_words_and_any_other_fails_alone(host: Console):
    words = {"true": True, "F": False, "0": False, "off": False, "": False, None: True}
    for at, word in enumerate(words):
        put(host, f"t{at}", enabled=word)
    put(host, "bad", enabled="suspended")
    assert sync(host).message.startswith("Synced 6 tenant configs; 1 failed: bad (")
    assert [stored(host, f"t{at}")["enabled"] for at in range(6)] == list(words.values())


def test_a_time_that_is_none_is_passed_on_as_it_is(console_for, sqlite_url: str):
    console = console_for(database_url=sqlite_url)
    add(console, "a", "b")
    execute(console, "UPDATE tenant_config SET updated_at = 'yesterday' WHERE tenant_id = 'b'")
    assert sync(console).affected == 2
    assert stored(console, "b")["updated_at"] == "yesterday"
    assert not console.snapshot().tenants_error


@pytest.mark.parametrize("column", ["tenant_id", "name", "settings"])
def test_bytes_that_are_no_text_fail_alone_where_the_database_takes_them(console_for, sqlite_url: str, column: str):
    console = console_for(database_url=sqlite_url)
    add(console, "a", "b")
    execute(console, f"UPDATE tenant_config SET {column} = CAST(x'7bff417d' AS TEXT) WHERE tenant_id = 'b'")
    effect = sync(console)
    assert (effect.affected, effect.ok) == (1, False)
    named = r"{\udcffA}" if column == "tenant_id" else "b"
    assert list(effect.details["tenants"]) == [named, "a"]
    assert console.get_recent_operations()[0].details["tenants"]["a"] == "synced"
    assert named in preview(console)
    assert console.tenants.orphans()[0] == []


def test_bytes_that_are_no_text_in_an_unchecked_postgresql_are_one_line(console_for, postgres, postgres_url: str):
    admin = engine.connect(postgres_url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"))
    url = postgres_url.rpartition("/")[0] + "/raw"
    try:
        console = console_for(database_url=url)
        columns = "tenant_id TEXT, name TEXT, enabled BOOL, settings TEXT, api_key TEXT, updated_at TIMESTAMP"
        execute(console, f"CREATE TABLE tenant_config ({columns})")
        execute(console, r"INSERT INTO tenant_config VALUES (E'a\xff', 'A', true, E'{}', null, now())")
        with pytest.raises(Unavailable, match="contains bytes that are not text"):
            console.tenants.plan()
        console.close()
    finally:
        postgres.drop(url)
        admin.dispose()


def test_of_many_bad_rows_the_first_are_named_and_all_are_counted(host: Console):
    for at in range(230):
        put(host, f"t{at:03}", settings="{")
    put(host, "z")
    effect = sync(host)
    assert effect.details["failed"] == 230
    assert len(effect.details["tenants"]) == 200
    assert effect.message == (
        "Synced 1 tenant config; 230 failed: t000, t001, t002, t003, t004, t005, t006, t007, t008, t009"
        " (settings are not valid JSON), …."
    )
    assert len(preview(host)) < 2_000
