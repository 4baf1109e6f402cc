"""The hash chain of the audit log: a sequence number and a chained HMAC for each finished entry, and the chain's head.

Entries that are finished already stay outside the chain: nobody vouched for them when they were written.

Revision: 0002, after 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("seq", sa.BigInteger(), nullable=True))
    op.add_column("audit_log", sa.Column("key_id", sa.Text(), nullable=True))
    op.add_column("audit_log", sa.Column("seal", sa.Text(), nullable=True))
    op.create_index("ix_audit_log_seq", "audit_log", ["seq"], unique=True)
    op.create_index("ix_audit_log_user", "audit_log", ["user", sa.text("timestamp DESC")])
    op.create_index("ix_audit_log_status", "audit_log", ["status", sa.text("timestamp DESC")])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "seal": ""}])
    op.execute("UPDATE audit_log SET key_id = 'before sealing' WHERE status <> 'in_progress'")


def downgrade() -> None:
    op.drop_table("audit_head")
    for index in ("ix_audit_log_status", "ix_audit_log_user", "ix_audit_log_seq"):
        op.drop_index(index, "audit_log")
    for column in ("seal", "key_id", "seq"):
        op.drop_column("audit_log", column)
