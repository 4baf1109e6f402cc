"""kill -9 at every step of a sync, in a process of its own, on real servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support import programs
from support.services import until

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.errors import Refused
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import tenant_config
from opsdash.services.tenants.redaction import digest

TENANTS, GONE = 1_300, 600
"""Three chunks of rows and two of orphans, less than half of all keys."""
LEASE_S = 0.3
LEAST_STEPS, MOST_STEPS = 15, 200
GONE_KEY = -2  # what PTTL says of a key that is not there
DOOMED = Path(__file__).with_name("doomed_sync.py")


@pytest.fixture
def console(settings_for: Callable[..., Settings], postgres_url: str) -> Iterator[Console]:
    made = assemble(settings_for(database_url=postgres_url))
    yield made
    made.close()


@pytest.fixture
def doomed(console: Console) -> Iterator[Callable[[int, str], str]]:
    """Runs a sync that dies at the given step; says how it ended."""
    settings = console.settings
    command = [sys.executable, str(DOOMED), settings.redis_url, settings.database_url, settings.secret_key, LEASE_S]
    with programs.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def run(step: int, when: str) -> str:
            process.stdin.write(f"{step} {when}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield run
        process.stdin.close()


def rewrite(console: Console, version: int) -> set[str]:
    """The database holds these tenants, all of this version; by turns the first or the last few are gone."""
    first = version % 2 * GONE
    rows = [
        {"tenant_id": f"t{at:04}", "name": f"T{version}", "settings": {"a": version, "b": version}, "api_key": "k"}
        for at in range(first, first + TENANTS)
    ]
    with database.transaction(console.engine) as connection:
        connection.execute(sa.delete(tenant_config))
        connection.execute(sa.insert(tenant_config), rows)
    return {row["tenant_id"] for row in rows}


def held(console: Console) -> dict[str, str]:
    keys = sorted(console.broker.client.scan_iter("tenant_config:*", count=5_000))
    values = console.broker.client.mget(keys) if keys else []
    return {key.removeprefix("tenant_config:"): value for key, value in zip(keys, values, strict=True)}


def index(console: Console) -> dict[str, str]:
    return console.broker.client.hgetall("opsdash:tenants")


def sync(console: Console) -> bool:
    """False while the dead one's lease lasts."""
    try:
        console.run(opsdash.SyncTenantConfigs(remove_orphans=True), actor="maria", confirm="YES")
    except Refused as error:
        # "another user": the lease ended between the try to take it and the look at who has it.
        if not any(f"synced by {who}" in str(error) for who in ("doomed", "another user")):
            raise
        return False
    return True


def all_of(console: Console, version: int, tenants: set[str]) -> dict[str, str]:
    """What Redis holds, which is that."""
    now = held(console)
    assert set(now) == tenants
    assert all(f'"a": {version}, "b": {version}' in text for text in now.values())
    return now


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sync_killed_at_any_step_leaves_each_tenant_old_or_new_and_the_next_one_ends_it(console, doomed, when: str):
    tenants = rewrite(console, 0)
    assert sync(console)
    old = all_of(console, 0, tenants)
    for step in range(1, MOST_STEPS):
        tenants = rewrite(console, step)
        end = doomed(step, when)
        between, lasts_ms = held(console), console.broker.client.pttl("opsdash:tenants:busy")
        assert index(console) == {tenant: digest(text) for tenant, text in between.items()}, step
        assert lasts_ms == GONE_KEY or 0 <= lasts_ms <= LEASE_S * 1000
        assert until(lambda: sync(console)), f"the lease of the sync killed at step {step} lasts"
        new = all_of(console, step, tenants)
        assert index(console) == {tenant: digest(text) for tenant, text in new.items()}
        for tenant in old.keys() | new.keys():
            assert between.get(tenant) in {old.get(tenant), new.get(tenant)}, (step, tenant)
        if end != "killed":
            break
        old = new
    assert end == "survived"
    assert step > LEAST_STEPS
