"""Syncing tenants: real Redis, both databases."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from support.services import Valkey
from support.tenants import add, stored, sync

from opsdash.errors import Unavailable, Uncertain
from opsdash.model import Status
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import tenant_config
from opsdash.services.tenants.digests import DigestedRows
from opsdash.services.tenants.source import TableSource

SECRET = "sk-live-0123456789"


def test_every_row_is_written_to_its_key(console: Console):
    add(console, "acme", settings={"plan": "gold", "limits": {"rps": 5}})
    add(console, "zen", enabled=False)
    effect = sync(console)
    assert (effect.affected, effect.message) == (2, "Synced 2 tenant configs.")
    assert stored(console, "acme")["settings"] == {"plan": "gold", "limits": {"rps": 5}}
    assert stored(console, "zen")["enabled"] is False


@pytest.mark.parametrize(
    "settings",
    [
        {"db": {"pwd": "hunter2!"}},
        {"auth": "hunter2!"},
        {"header": "Bearer hunter2!"},
        {"database": "postgres://u:hunter2!@h/db"},
        {"aws": "AKIAHUNTER2HUNTER2XX hunter2!"},
        {"hook": "https://hooks.slack.com/services/T0/B0/hunter2!"},
        {"key": "-----BEGIN PRIVATE KEY-----hunter2!"},
        {"urls": ["amqp://u:hunter2!@mq//"]},
        {"stripe": "sk_live_12345678hunter2!"},
        {"jwt": "token is eyJhbGciOi.hunter2!.x or eyJhbGciOi.eyJhunter2.x hunter2!"},
        {"query": "https://maps.example/v1?region=eu&api_key=hunter2!"},
        {"signed": "https://store.example/file?sig=hunter2!"},
        {"libpq": "host=db user=u password=hunter2!"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_looks_like_a_secret_by_name_or_value_is_treated_as_one(console_for, settings: dict[str, Any]):
    console = console_for()
    add(console, "acme", settings=settings)
    sync(console)
    written = console.broker.client.get("tenant_config:acme")
    assert "hunter2!" not in written
    assert "hmac-sha256:" in written


@pytest.mark.parametrize(
    "settings",
    [
        {"author": "Ann"},
        {"url": "https://acme.example/a:b@c"},
        {"plan": "basic"},
        {"spin": 3},
        {"page": "/?max_tokens=3&monkey=1"},
    ],
)
def test_what_is_no_secret_stays_as_it_is(console_for, settings: dict[str, Any]):
    console = console_for()
    add(console, "acme", settings=settings)
    sync(console)
    assert stored(console, "acme")["settings"] == settings


def test_a_fingerprint_changes_with_the_secret_and_only_then(console: Console):
    add(console, "acme", api_key=SECRET)
    add(console, "zen", api_key=SECRET)
    sync(console)
    first = stored(console, "acme")["api_key_fingerprint"]
    assert first != stored(console, "zen")["api_key_fingerprint"], "two tenants with one key are not told apart by it"
    sync(console)
    assert stored(console, "acme")["api_key_fingerprint"] == first
    with database.transaction(console.engine) as connection:
        connection.execute(sa.update(tenant_config).values(api_key="sk-live-other"))
    sync(console)
    assert stored(console, "acme")["api_key_fingerprint"] != first


def test_more_rows_than_one_chunk_are_all_written(console: Console):
    rows = [{"tenant_id": f"t{i}", "name": "T", "enabled": True, "settings": {}} for i in range(1_201)]
    with database.transaction(console.engine) as connection:
        connection.execute(sa.insert(tenant_config), rows)
    assert sync(console).affected == 1_201
    assert stored(console, "t1200")


def test_redis_lost_midway_is_uncertain_and_says_how_far_it_came(
    console: Console, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"tenant_id": f"t{i:04}", "name": "T", "enabled": True, "settings": {}} for i in range(700)]
    with database.transaction(console.engine) as connection:
        connection.execute(sa.insert(tenant_config), rows)

    def lose_redis_after_the_first(chunks):
        def read(*given):
            for number, chunk in enumerate(chunks(*given)):
                if number == 1:
                    valkey.stop()
                yield chunk

        return read

    for source in (TableSource, DigestedRows):
        monkeypatch.setattr(source, "chunks", lose_redis_after_the_first(source.chunks))
    with pytest.raises(Uncertain, match="stopped after 500 tenants"):
        sync(console)
    assert console.get_recent_operations()[0].status is Status.UNKNOWN


def test_the_database_lost_midway_is_uncertain_and_lost_at_once_changed_nothing(
    console: Console, monkeypatch: pytest.MonkeyPatch
):
    add(console, "acme")
    sources = {source: source.chunks for source in (TableSource, DigestedRows)}
    for written, error, says in ((0, Unavailable, "gone"), (1, Uncertain, "stopped after 1 tenant: gone")):

        def lose_the_database(chunks, written=written):
            def read(*given):
                if written:
                    yield from chunks(*given)
                raise Unavailable("gone")

            return read

        for source, chunks in sources.items():
            monkeypatch.setattr(source, "chunks", lose_the_database(chunks))
        with pytest.raises(error, match=says):
            sync(console)
