"""The demo's database: migrated, and filled with sample tenants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from opsdash.services.database import migrations
from opsdash.services.database.engine import connect
from opsdash.services.database.tables import tenant_config

TENANTS = 200
_PLANS = ("free", "team", "business", "enterprise")
_REGIONS = ("eu-central", "eu-west", "us-east", "ap-south")
_FIRST = ("Acme", "Blue", "Copper", "Delta", "Evergreen", "Falcon", "Granite", "Harbor", "Indigo", "Juniper")
_SECOND = ("Logistics", "Foods", "Robotics", "Media", "Health", "Energy", "Travel", "Books", "Studios", "Metals")


def sample_tenant(number: int) -> dict[str, Any]:
    """The same each time. The key looks like what it is: a sample, good for nothing."""
    return {
        "tenant_id": f"tenant-{number:03}",
        "name": f"{_FIRST[number % 10]} {_SECOND[number // 10 % 10]}{' II' if number >= 100 else ''}",
        "enabled": number % 12 != 0,
        "settings": {
            "plan": _PLANS[number % len(_PLANS)],
            "region": _REGIONS[number // 3 % len(_REGIONS)],
            "rate_limit_per_minute": 60 * (1 + number % 10),
            "features": {"exports": number % 2 == 0, "sso": number % 4 == 3},
        },
        "api_key": f"demo-not-a-real-key-{number:03}",
        "updated_at": datetime(2025, 1, 1 + number % 28, 12, tzinfo=UTC),
    }


def prepare(url: str) -> int:
    """Migrates to the newest version and adds the sample tenants, if there are none; says how many there are."""
    migrations.upgrade(url)
    engine = connect(url)
    try:
        with engine.begin() as connection:
            count = sa.select(sa.func.count()).select_from(tenant_config)
            if not connection.scalar(count):
                connection.execute(sa.insert(tenant_config), [sample_tenant(number) for number in range(TENANTS)])
            return int(connection.scalar(count) or 0)
    finally:
        engine.dispose()
