"""Two filters at once, such as one user's refused attempts, are sorted out within the index, not row by row.

As many indexes as before: an act writes no more of them.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FURTHER = {
    "ix_audit_log_user": ("user", ["status", "operation"]),
    "ix_audit_log_status": ("status", ["user", "operation"]),
    "ix_audit_log_operation_timestamp": ("operation", ["user", "status"]),
}


def upgrade() -> None:
    for index, (first, further) in FURTHER.items():
        op.drop_index(index, "audit_log")
        op.create_index(index, "audit_log", [first, sa.text("timestamp DESC"), *further])


def downgrade() -> None:
    for index, (first, _) in FURTHER.items():
        op.drop_index(index, "audit_log")
        op.create_index(index, "audit_log", [first, sa.text("timestamp DESC")])
