"""The audit log, and the tenant configurations where the application has not made them itself.

Revision: 0001, the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
        sa.UniqueConstraint("request_id", name="uq_audit_log_request_id"),
        sa.CheckConstraint(
            "status IN ('in_progress', 'success', 'failure', 'refused', 'unknown')", name=op.f("ck_audit_log_status")
        ),
    )
    op.create_index("ix_audit_log_timestamp", "audit_log", [sa.text("timestamp DESC")])
    op.create_index("ix_audit_log_operation", "audit_log", ["operation"])
    op.create_table(
        "tenant_config",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("settings", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("api_key", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_config"),
        if_not_exists=True,  # the application may have had it long before opsdash came
    )


def downgrade() -> None:
    op.drop_table("audit_log")
    # Rows in tenant_config are an application's own, keys included: only an empty table is taken away.
    if not context.is_offline_mode():
        rows = op.get_bind().execute(sa.text("SELECT 1 FROM tenant_config LIMIT 1")).first()
        if rows is None:
            op.drop_table("tenant_config")
