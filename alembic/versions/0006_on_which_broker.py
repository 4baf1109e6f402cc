"""Which broker an entry is about: a column that the database reckons from the details, and an index to find it by.

The HMAC covers the details, and older consoles, which do not know the column, keep them. They are read as text,
and not as JSON: a foreign value that is not JSON must not stop this, nor a later read. opsdash writes
the broker first, without a quote or a backslash in it.

PostgreSQL rewrites the table and its indexes for it, at about 25 µs an entry: operations meanwhile use the outbox.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RECKONED = {
    "postgresql": """CASE WHEN left(details::text, 12) = '{"broker": "' THEN split_part(details::text, '"', 4) END""",
    "sqlite": """CASE WHEN substr(details, 1, 12) = '{"broker": "'
        THEN substr(details, 13, instr(substr(details, 13), '"') - 1) END""",
}
KEPT = {"postgresql": "STORED", "sqlite": "VIRTUAL"}


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    op.execute(
        f"ALTER TABLE audit_log ADD COLUMN broker TEXT GENERATED ALWAYS AS ({RECKONED[dialect]}) {KEPT[dialect]}"
    )
    op.create_index("ix_audit_log_broker", "audit_log", ["broker", sa.text("timestamp DESC"), "status", "operation"])


def downgrade() -> None:
    op.drop_index("ix_audit_log_broker", "audit_log")
    op.drop_column("audit_log", "broker")
