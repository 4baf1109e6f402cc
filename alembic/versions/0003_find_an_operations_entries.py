"""Page one of one operation's entries by an index that has them in order, however long the log.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_log_operation_timestamp", "audit_log", ["operation", sa.text("timestamp DESC")])


def downgrade() -> None:
    op.drop_index("ix_audit_log_operation_timestamp", "audit_log")
