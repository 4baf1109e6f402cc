"""The tables, as SQLAlchemy Core describes them; ``alembic/versions`` makes them.

``audit_log`` and ``audit_head`` are opsdash's own. ``tenant_config`` may belong to the application whose tenants it
lists.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from opsdash.model import Status


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An instant: aware going in, UTC in the database, aware and UTC coming out.

    SQLite has no time zones and PostgreSQL answers in the session's; this makes both say the same.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """UTC for the database; a naive time is a bug of the caller, refused before it is stored an hour off."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone can't be stored: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """UTC, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("timestamp", UtcDateTime, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("request_id", sa.Uuid, nullable=False, unique=True),
    sa.Column("finished_at", UtcDateTime),
    # The hash chain: set once an entry is finished, never changed again.
    sa.Column("seq", sa.BigInteger),
    sa.Column("key_id", sa.Text),
    sa.Column("seal", sa.Text),
    # The database derives it from the details: the HMAC covers these, and older consoles keep them too.
    sa.Column("broker", sa.Text, sa.FetchedValue()),
    # Text and a check, not an ENUM type: a sixth status is then one constraint away, on SQLite too.
    sa.CheckConstraint(sa.column("status").in_([status.value for status in Status]), name="status"),
)
sa.Index("ix_audit_log_timestamp", audit_log.c.timestamp.desc())
sa.Index("ix_audit_log_operation", audit_log.c.operation)
sa.Index("ix_audit_log_seq", audit_log.c.seq, unique=True)
# The columns behind the time find no row: they let a second filter be checked without reading the row.
for _index, _first, *_further in (
    ("ix_audit_log_user", "user", "status", "operation"),
    ("ix_audit_log_status", "status", "user", "operation"),
    ("ix_audit_log_operation_timestamp", "operation", "user", "status"),
    ("ix_audit_log_broker", "broker", "status", "operation"),
):
    sa.Index(_index, audit_log.c[_first], audit_log.c.timestamp.desc(), *(audit_log.c[name] for name in _further))

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("seal", sa.Text, nullable=False),
    # Set when the secret is first set, signed with its key: entries up to this number need no key.
    sa.Column("unkeyed_through", sa.BigInteger),
    sa.Column("unkeyed_key_id", sa.Text),
    sa.Column("unkeyed_seal", sa.Text),
)
"""One row: number and HMAC of the newest entry in the chain, and up to which entry no key is needed."""

tenant_config = sa.Table(
    "tenant_config",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("settings", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("api_key", sa.Text),
    sa.Column("updated_at", UtcDateTime, nullable=False, server_default=sa.func.current_timestamp()),
)
