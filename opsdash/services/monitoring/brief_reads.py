"""The database's half of a snapshot for a command that takes one: read by the driver alone, where that is enough.

What has to be written, what can't be read as usual, and what takes long is for `DatabaseReads`, which says why.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import redis

from opsdash.config.settings import Settings
from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, TenantDrift
from opsdash.services.audit import reaper
from opsdash.services.audit.entries import HEAD, WRITTEN, entry_of
from opsdash.services.broker.client import Broker
from opsdash.services.database import plain
from opsdash.services.database.plain import Plain
from opsdash.services.database.time_limit import TimeLimit
from opsdash.services.tenants import version as tenant_version
from opsdash.services.tenants.drift import DriftWatch, in_use
from opsdash.services.tenants.index import TenantIndex

log = logging.getLogger(__name__)

RECENT = 20
"""Operations that a snapshot carries."""
WAIT_S = 0.5
"""After so long the usual way is taken, which waits longer."""
_TEXTS = {"id", "request_id", "details"}
_COLUMNS = ", ".join(f'CAST("{name}" AS TEXT)' if name in _TEXTS else f'"{name}"' for name in WRITTEN)
_NEWEST = f'SELECT {_COLUMNS} FROM audit_log ORDER BY "timestamp" DESC, id DESC LIMIT ?'  # noqa: S608 - our own names
_HEAD = f"SELECT {HEAD} FROM audit_head"  # noqa: S608 - our own names
_LEFT_BEHIND = (
    "SELECT 1 FROM audit_log WHERE status = 'in_progress' AND \"timestamp\" < ?"
    ' AND (broker = ? OR broker IS NULL OR "timestamp" >= ?) LIMIT 1'
)


class BriefReads:
    """Reads it once.

    Cost: one connection, four queries; four round trips to Redis.
    """

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._settings, self._broker = settings, broker

    def read(self) -> dict[str, Any] | None:
        """The half as fields of a `Snapshot`; None: the usual way is needed."""
        if self._settings.tenant_source or not plain.is_usual(self._settings.database_url):
            return None
        try:
            if self._owes():
                return None
            return TimeLimit("The database").run(self._read, wait_s=WAIT_S)
        except (OpsdashError, redis.RedisError) as error:
            log.debug("the database is read by the engine: %s", error)
            return None

    def _owes(self) -> bool:
        """Something ended by itself, or waits for the database: that is to be written down. Cost: one round trip."""
        keys, now = self._broker.keys, time.time()
        with self._broker.reading(), self._broker.client.pipeline(transaction=False) as pipe:
            pipe.xlen(keys.outbox)
            pipe.xlen(keys.outbox_aside)
            pipe.hlen(keys.hold_ended)
            pipe.zcount(keys.approvals, "-inf", now)
            pipe.hlen(keys.schedules_paused)
            *owed, schedules = pipe.execute()
        if schedules and not any(owed):
            from opsdash.services.workers.schedules import Schedules

            return bool(Schedules(self._broker).ended())
        return any(owed)

    def _read(self) -> dict[str, Any] | None:
        now = datetime.now(UTC)
        dead, others = now - timedelta(seconds=reaper.ALIVE_S), now - timedelta(seconds=reaper.BEGUN_S)
        with plain.reading(self._settings.database_url) as database:
            if database.rows(_LEFT_BEHIND, (dead, self._broker.identity, others)):
                return None  # its process may be gone: it is looked after
            operations = tuple(_entry(row) for row in database.rows(_NEWEST, (RECENT,)))
            head = "".join(f"{seq}:{seal}" for seq, seal in database.rows(_HEAD))
            drift = self._drift(database)
        return {
            "operations": operations,
            "audit_head": head,
            "database_age_s": 0.0,
            "database_error": "",
            "silent": [],
            "tenants": drift.rows,
            "tenant_drift": drift,
            "tenants_in_use": in_use(drift.rows, drift, named=tenant_version.is_named(self._settings)),
            "tenants_age_s": 0.0,
            "tenants_error": "",
        }

    def _drift(self, database: Plain) -> TenantDrift:
        table = tenant_version.PlainTable(database, self._settings)
        return DriftWatch(table, TenantIndex(self._broker)).look()


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    values: Mapping[str, Any] = dict(zip(WRITTEN, row, strict=True))
    return entry_of(
        {
            **values,
            "details": json.loads(values["details"]),
            **{name: UUID(values[name]) for name in ("id", "request_id")},
            **{name: _moment(values[name]) for name in ("timestamp", "finished_at")},
        }
    )


def _moment(value: datetime | str | None) -> datetime | None:
    """As SQLite keeps it, UTC without a zone, or as PostgreSQL gives it, in the session's zone."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    if at is None:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
