"""Tenants synced with digests and without: whatever was done on either side, both say and write the same.

Two Redis databases beside one PostgreSQL. Everything is done to both; one is synced by the digests that the database
makes of its rows, the other one reads every row each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.machines import dying

from opsdash.model.key_layout import Layout
from opsdash.services.broker import writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.database import engine as database
from opsdash.services.tenants import digests, index, kept, source
from opsdash.services.tenants.redaction import public_config
from opsdash.services.tenants.source import TableSource
from opsdash.services.tenants.sync import SyncReport, TenantPlan, Tenants
from opsdash.services.tenants.version import columns

IDS = st.sampled_from(["a", "Acme", "ä", "zen-1"])
NAMES = st.sampled_from(["x", "y", "a longer name"])
FEW = 8
"""Buckets, so that some have several of these tenants."""
TABLE = "customers"


class WholeSource(TableSource):
    """The same table without digests."""

    def digested(self) -> AbstractContextManager[None]:
        return nullcontext()


class TenantMachine(RuleBasedStateMachine):
    def __init__(self, engine: sa.Engine, clients: tuple[redis.Redis, redis.Redis]) -> None:
        super().__init__()
        self.engine, self.clients, self.secret = engine, clients, b"secret"
        self.patch = pytest.MonkeyPatch()

    @initialize(rows=st.sampled_from([2, 1_000]), step=st.sampled_from([1, 100]))
    def begin(self, rows: int, step: int) -> None:
        names = columns(settings_of(TABLE))
        self.most_rows, self.rows_read = rows, list[str]()
        self.patch.setattr(digests.DigestedRows, "chunks", self.noting(digests.DigestedRows.chunks))
        self.patch.setattr(digests, "BUCKETS", FEW)
        self.patch.setattr(kept, "MOST_ROWS", rows)
        self.patch.setattr(kept, "STEP_ROWS", step)
        self.patch.setattr(kept, "AT_ONCE", 2)
        for chunk in (index, source):
            self.patch.setattr(chunk, "CHUNK", 2)
        self.execute(f"DELETE FROM {TABLE}")
        self.tenants = list[Tenants]()
        for client, kind in zip(self.clients, (TableSource, WholeSource), strict=True):
            client.flushdb()
            broker = Broker(client, Layouts.fixed(client, Layout()), "test", ("celery",))
            self.tenants.append(Tenants(kind(self.engine, TABLE, names, True), broker, lambda: self.secret))
        self.version = 0
        self.patch.setattr(kept, "rules", lambda: str(self.version))
        for tenant in ("a", "Acme", "ä", "b", "c"):
            self.put(tenant, "x", "p")
        self.sync(remove=False)

    def noting(self, chunks: Any) -> Any:
        """Notes the rows that are read by digests."""

        def noted(table: Any, buckets: Any = None) -> Iterator[Any]:
            for rows, of_rows in chunks(table, buckets):
                self.rows_read += [str(row["tenant_id"]) for row in rows]
                yield rows, of_rows

        return noted

    def execute(self, statement: str, **values: Any) -> list[Any]:
        with database.transaction(self.engine) as connection:
            found = connection.execute(sa.text(statement), values)
            return list(found) if found.returns_rows else []

    # Rows.

    @rule(tenant=IDS, name=NAMES, password=st.sampled_from(["", "p", "q"]))
    def put(self, tenant: str, name: str, password: str) -> None:
        self.execute(f"DELETE FROM {TABLE} WHERE tenant_id = :tenant", tenant=tenant)
        config = json.dumps({"smtp": {"password": password}} if password else {})
        self.insert(tenant, name, config)

    def insert(self, tenant: str, name: str, config: str) -> None:
        self.execute(
            f"INSERT INTO {TABLE} VALUES (:tenant, :name, 'true', :config, NULL, now())",
            tenant=tenant,
            name=name,
            config=config,
        )

    @rule(tenant=IDS)
    def remove(self, tenant: str) -> None:
        self.execute(f"DELETE FROM {TABLE} WHERE tenant_id = :tenant", tenant=tenant)

    @rule(tenant=IDS)
    def spoil(self, tenant: str) -> None:
        self.execute(f"UPDATE {TABLE} SET settings = '{{' WHERE tenant_id = :tenant", tenant=tenant)

    @rule(tenant=IDS, key=st.sampled_from(["k", "l"]))
    def set_key_unseen(self, tenant: str, key: str) -> None:
        """Without another time of change."""
        self.execute(f"UPDATE {TABLE} SET api_key = :key WHERE tenant_id = :tenant", tenant=tenant, key=key)

    @rule(tenant=IDS)
    def double(self, tenant: str) -> None:
        self.execute(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE tenant_id = :tenant LIMIT 1", tenant=tenant)

    @rule(bad=st.sampled_from([None, "", "two words"]))
    def add_without_an_id(self, bad: str | None) -> None:
        self.execute(f"INSERT INTO {TABLE} (tenant_id, settings) VALUES (:bad, '{{}}')", bad=bad)

    # What somebody does in Redis.

    @rule(tenant=IDS, text=st.sampled_from(["by hand", "", None]))
    def alter_key(self, tenant: str, text: str | None) -> None:
        for one in self.tenants:
            key = one.broker.keys.tenant_config(tenant)
            if text is None:
                one.broker.client.delete(key)
            else:
                one.broker.client.set(key, text)

    @rule(tenant=IDS)
    def alter_one_character(self, tenant: str) -> None:
        for one in self.tenants:
            key = one.broker.keys.tenant_config(tenant)
            if one.broker.client.type(key) == "string":
                one.broker.client.setrange(key, 3, "#")

    @rule(tenant=IDS)
    def put_a_list_there(self, tenant: str) -> None:
        for one in self.tenants:
            one.broker.client.delete(one.broker.keys.tenant_config(tenant))
            one.broker.client.rpush(one.broker.keys.tenant_config(tenant), "x")

    @rule(tenant=IDS, value=st.sampled_from(["", "other", None]))
    def alter_index(self, tenant: str, value: str | None) -> None:
        for one in self.tenants:
            if value is None:
                one.broker.client.hdel(one.broker.keys.tenants, tenant)
            else:
                one.broker.client.hset(one.broker.keys.tenants, tenant, value)

    @rule(what=st.sampled_from(["tenants", "tenants_synced", "tenants_buckets"]))
    def lose(self, what: str) -> None:
        for one in self.tenants:
            one.broker.client.delete(getattr(one.broker.keys, what))

    @rule()
    def flush(self) -> None:
        for one in self.tenants:
            one.broker.client.flushdb()

    @rule(how=st.sampled_from(["mixed", "cut", "foreign", "no hash", "no tenants"]))
    def alter_what_is_kept(self, how: str) -> None:
        client, key = self.clients[0], self.tenants[0].broker.keys.tenants_buckets
        if how == "no hash":
            client.set(key, "x")
            return
        if client.type(key) != "hash":
            return
        values = client.hgetall(key)
        for (bucket, value), other in zip(values.items(), [*values.values()][::-1], strict=True):
            head, _, _tenants = value.partition("\n")
            made = {"mixed": other, "cut": value[:-2], "foreign": "x" * 50, "no tenants": f"{head}\n"}
            client.hset(key, bucket, made[how])

    @rule()
    def rotate_secret(self) -> None:
        self.secret += b"+"

    @rule()
    def upgrade(self) -> None:
        self.version += 1

    # The console.

    @rule(remove=st.booleans())
    def sync(self, remove: bool) -> None:
        self.compare_plans()
        reports = [self.synced(one, remove=remove) for one in self.tenants]
        note(f"{reports[1]}")
        assert said(reports[0]) == said(reports[1])
        assert reports[0].rows == self.execute(f"SELECT count(*) FROM {TABLE}")[0][0]
        self.compare_redis()
        self.rows_read.clear()
        again = [self.synced(one, remove=remove) for one in self.tenants]
        assert said(again[0]) == said(again[1])
        assert again[0].written == 0
        if not again[0].unreadable and self.most_rows > 2:
            assert self.rows_read == [], "nothing has changed"

    @rule(after=st.integers(0, 4))
    def cancel(self, after: int) -> None:
        for one in self.tenants:
            asked = iter(range(100))
            one.sync(by="maria", cancelled=lambda asked=asked: next(asked) >= after)
        self.end()

    @rule(call=st.integers(1, 14))
    def kill(self, call: int) -> None:
        for one in self.tenants:
            with dying(call, (writes._Pipeline, "execute")):
                one.sync(by="maria")
            one.broker.client.delete(one.broker.keys.tenants_busy)
        self.end()

    @rule()
    def sync_without_digests(self) -> None:
        """As the version before."""
        before = Tenants(self.tenants[1].source, self.tenants[0].broker, lambda: self.secret)
        for one in (before, self.tenants[1]):
            self.synced(one, remove=False)
        self.compare_redis()

    def end(self) -> None:
        """Both came to another point: after one more they are the same."""
        for one in self.tenants:
            self.synced(one, remove=True)
        self.compare_redis()
        self.compare_plans()

    def synced(self, tenants: Tenants, *, remove: bool) -> SyncReport:
        return tenants.sync(by="maria", remove=(lambda _orphaned, _known: None) if remove else None)

    @invariant()
    def compare_plans(self) -> None:
        plans = [one.plan() for one in self.tenants]
        assert told(plans[0]) == told(plans[1])

    def compare_redis(self) -> None:
        held = [redis_of(one) for one in self.tenants]
        assert held[0] == held[1]
        names = ("tenant_id", "name", "enabled", "settings", "api_key", "updated_at")
        for row in self.execute(f"SELECT {', '.join(names)} FROM {TABLE}"):
            try:
                text = public_config(dict(zip(names, row, strict=True)), self.secret)
            except ValueError:
                continue
            assert held[0]["keys"][row[0]] == text
        drifts = [one.drift() for one in self.tenants]
        assert [drift.message for drift in drifts] == [drifts[1].message] * 2
        assert drifts[0].rows == drifts[1].rows

    def teardown(self) -> None:
        self.patch.undo()


def settings_of(table: str) -> Any:
    from opsdash.config.settings import Settings

    return Settings.from_env({}, tenant_table=table)


def said(report: SyncReport) -> dict[str, Any]:
    return {**asdict(report), "last_id": None}


def told(plan: TenantPlan) -> dict[str, Any]:
    return {**asdict(plan), "seen": said(plan.seen)}


def redis_of(tenants: Tenants) -> dict[str, Any]:
    """The keys and the index, and what the last sync has left."""
    client, keys = tenants.broker.client, tenants.broker.keys
    start = keys.tenant_config("")
    found = {}
    for key in client.scan_iter(f"{start}*", count=1_000):
        found[key.removeprefix(start)] = client.get(key) if client.type(key) == "string" else client.type(key)
    left = client.hgetall(keys.tenants_synced)
    return {
        "keys": found,
        "index": client.hgetall(keys.tenants),
        "left": {name: left.get(name) for name in ("rows", "keys", "mark", "unreadable", "begun", "adopted")},
    }


def examine(engine: sa.Engine, clients: tuple[redis.Redis, redis.Redis], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: TenantMachine(engine, clients),
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    made = database.connect(postgres_url)
    with database.transaction(made) as connection:
        types = "tenant_id text, name text, enabled text, settings text, api_key text, updated_at timestamptz"
        connection.execute(sa.text(f"CREATE TABLE {TABLE} ({types})"))
    yield made
    made.dispose()


@pytest.fixture
def clients(valkey_url: str) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    made = [writes.Client.from_url(f"{valkey_url.rsplit('/', 1)[0]}/{at}", decode_responses=True) for at in (0, 1)]
    yield made[0], made[1]
    for one in made:
        one.close()


def test_with_digests_and_without_a_sync_says_and_writes_the_same(engine, clients) -> None:
    examine(engine, clients, 10, 8)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_same_at_length(engine, clients) -> None:
    examine(engine, clients, 60, 30)
