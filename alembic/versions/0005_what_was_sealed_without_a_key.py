"""Up to which entry no key is needed: set, and signed with the key, when the secret is first set.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_head", sa.Column("unkeyed_through", sa.BigInteger(), nullable=True))
    op.add_column("audit_head", sa.Column("unkeyed_key_id", sa.Text(), nullable=True))
    op.add_column("audit_head", sa.Column("unkeyed_seal", sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("unkeyed_seal", "unkeyed_key_id", "unkeyed_through"):
        op.drop_column("audit_head", column)
