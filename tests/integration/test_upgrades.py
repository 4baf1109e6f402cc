"""``opsdash db upgrade`` from every earlier revision, with rows in every table: they survive, and the chain verifies.

The revisions are read from the folder of migrations: a new one is tried without a line here, and a table that one adds
is asked for its rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from click.testing import CliRunner

from opsdash.cli import cli
from opsdash.model import AuditEntry, Status
from opsdash.services.audit.chain import ChainSigner, covered, seal_of
from opsdash.services.audit.verify import verify
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_head

ROOT = Path(__file__).parents[2]
SCRIPTS = ScriptDirectory(str(ROOT / "alembic"))
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
SEALER = ChainSigner(lambda: b"a-key-for-tests-and-nothing-else")
BEGAN = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)

Rows = dict[str, list[dict[str, Any]]]


def reflected(engine: sa.Engine) -> dict[str, sa.Table]:
    """The tables as they are, whatever the code thinks they should be."""
    found = sa.MetaData()
    found.reflect(engine)
    return {name: table for name, table in found.tables.items() if name != migrations.VERSION_TABLE}


def entries() -> list[AuditEntry]:
    """Two of each status, with details of every kind of value."""
    return [
        AuditEntry(
            id=uuid.uuid4(),
            timestamp=BEGAN + timedelta(minutes=number, microseconds=123_456),
            user="maría · ☂",
            operation="clear_queue",
            details={
                "params": {"queue": "emails"},
                "affected": number,
                "took_s": 0.25,
                "message": "Cleared.",
                "none": None,
            },
            status=status,
            request_id=uuid.uuid4(),
            finished_at=None if status is Status.IN_PROGRESS else BEGAN + timedelta(minutes=number, seconds=1),
        )
        for number, status in enumerate([*Status, *Status])
    ]


def stored(table: sa.Table, values: dict[str, Any], dialect: str) -> dict[str, Any]:
    """Values as the database keeps them; a reflected SQLite column knows neither times nor JSON nor UUIDs."""
    found = {name: value for name, value in values.items() if name in table.c}
    if dialect == "sqlite":
        for name, value in found.items():
            if isinstance(value, uuid.UUID):
                found[name] = value.hex
    return found


def sealed_then(connection: sa.Connection, entry: AuditEntry) -> AuditEntry:
    """As every release seals; the head of an earlier one has fewer columns than this one's asks for."""
    head = connection.execute(sa.select(audit_head.c.seq, audit_head.c.seal)).one()
    key_id, key = SEALER.key()
    numbered = replace(entry, seq=head.seq + 1, key_id=key_id)
    row = {name: getattr(numbered, name) for name in AuditEntry.__dataclass_fields__}
    return replace(numbered, seal=seal_of(key, head.seal, covered(row | {"details": dict(entry.details)})))


def fill_audit_log(connection: sa.Connection, table: sa.Table) -> None:
    """Entries with an outcome, sealed where there are seals, and entries that are in progress."""

    def write(entry: AuditEntry) -> None:
        values = {column.name: getattr(entry, column.name) for column in table.c if column.computed is None}
        values |= {"details": dict(entry.details), "status": str(entry.status)}
        connection.execute(table.insert(), stored(table, values, connection.dialect.name))

    for number, entry in enumerate(entries()):
        if "seal" in table.c and entry.finished_at is not None and number > 1:  # the first ones from before the seals
            sealed = sealed_then(connection, entry)
            write(sealed)
            connection.execute(sa.update(audit_head).values(seq=sealed.seq, seal=sealed.seal))
        else:
            write(entry)
    if "seal" in table.c:
        before = sa.update(table).where(table.c.seq.is_(None), table.c.finished_at.is_not(None))
        connection.execute(before.values(key_id="before sealing"))


def fill_tenants(connection: sa.Connection, table: sa.Table) -> None:
    for number in range(3):
        values = {
            "tenant_id": f"t{number}",
            "name": "Acmé",
            "enabled": number != 1,
            "settings": {"plan": "gold", "deep": [1, {"x": None}]},
            "api_key": "k" if number else None,
            "updated_at": BEGAN,
        }
        connection.execute(table.insert(), stored(table, values, connection.dialect.name))


def nothing_more(_connection: sa.Connection, _table: sa.Table) -> None:
    """Its row came with the table, and moves with each seal."""


FILL: dict[str, Callable[[sa.Connection, sa.Table], None]] = {
    "audit_head": nothing_more,
    "audit_log": fill_audit_log,
    "tenant_config": fill_tenants,
}


def rows(engine: sa.Engine) -> Rows:
    """Everything in every table, as plain values."""
    with engine.connect() as connection:
        return {
            name: sorted(
                (
                    {key: str(value) for key, value in row._mapping.items()}
                    for row in connection.execute(sa.select(table))
                ),
                key=lambda row: json.dumps(row, sort_keys=True),
            )
            for name, table in reflected(engine).items()
        }


@pytest.mark.long
@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_earlier_revision_survive_the_upgrade_and_the_chain_still_verifies(
    empty_database_url: str, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database_url
    migrations.upgrade(url, revision)
    engine = database.connect(url)
    tables = reflected(engine)
    with database.transaction(engine) as connection:
        for name, table in sorted(tables.items()):
            FILL[name](connection, table)  # a new table: say here what its rows look like
    before = rows(engine)
    assert all(before.values()), "a table without a row proves nothing"
    monkeypatch.setenv("OPSDASH_DATABASE_URL", url)
    done = CliRunner().invoke(cli, ["db", "upgrade"])
    assert done.exit_code == 0, done.output
    assert migrations.check(url) == []
    after = rows(engine)
    for name, kept in before.items():
        columns = kept[0].keys()
        assert [{column: row[column] for column in columns} for row in after[name]] == kept, name
    sealed = "audit_head" in tables
    found = verify(engine, SEALER)
    assert found.problems == []
    assert (found.checked, found.before, found.in_progress) == ((7, 1, 2) if sealed else (0, 8, 2))
    with database.transaction(engine) as connection:  # and the chain goes on
        table = reflected(engine)["audit_log"]
        fill_audit_log(connection, table)
    assert verify(engine, SEALER).problems == []
    engine.dispose()


def test_every_revision_is_tried_and_the_last_one_is_the_codes() -> None:
    files = list((ROOT / "alembic" / "versions").glob("[0-9]*.py"))
    assert len(REVISIONS) == len(files) >= 3
    assert REVISIONS[-1] == migrations.head()
    assert all(
        script.down_revision is None or isinstance(script.down_revision, str) for script in SCRIPTS.walk_revisions()
    )
