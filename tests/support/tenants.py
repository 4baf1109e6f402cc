"""What tests of tenants share: rows in the database, a sync, what Redis holds afterwards."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from support.previews import texts

import opsdash
from opsdash.model import Effect
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import tenant_config


def add(console: Console, *tenant_ids: str, **columns: Any) -> None:
    """Rows that differ in their id alone."""
    rows = [
        {"tenant_id": tenant_id, "name": "Acme", "enabled": True, "settings": {}, **columns} for tenant_id in tenant_ids
    ]
    with database.transaction(console.engine) as connection:
        connection.execute(sa.insert(tenant_config), rows)


def change(console: Console, tenant_id: str, **columns: Any) -> None:
    with database.transaction(console.engine) as connection:
        connection.execute(sa.update(tenant_config).where(tenant_config.c.tenant_id == tenant_id).values(columns))


def remove(console: Console, *tenant_ids: str) -> None:
    with database.transaction(console.engine) as connection:
        connection.execute(sa.delete(tenant_config).where(tenant_config.c.tenant_id.in_(tenant_ids)))


def execute(console: Console, statement: str, **values: Any) -> None:
    """What no table of SQLAlchemy's would send."""
    with database.transaction(console.engine) as connection:
        connection.execute(sa.text(statement), values)


def sync(console: Console, **params: Any) -> Effect:
    return console.run(opsdash.SyncTenantConfigs(**params), actor="maria", confirm="YES")


def preview(console: Console, **params: Any) -> str:
    """All its lines."""
    return "\n".join(texts(console.preview(opsdash.SyncTenantConfigs(**params))))


def stored(console: Console, tenant_id: str) -> Any:
    text = console.broker.client.get(f"tenant_config:{tenant_id}")
    return None if text is None else json.loads(text)


def writes(console: Console) -> int:
    """Commands so far that put a tenant's configuration into Redis."""
    found = console.broker.client.info("commandstats")
    return sum(found.get(f"cmdstat_{command}", {}).get("calls", 0) for command in ("mset", "set|tenant_config"))
