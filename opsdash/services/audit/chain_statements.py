"""What `ChainSigner` asks the database; made once: to put a statement together costs as much as to run it."""

from __future__ import annotations

import sqlalchemy as sa

from opsdash.services.audit.chain import UNKEYED
from opsdash.services.database.tables import audit_head, audit_log

_UNKEYED = (audit_head.c.unkeyed_through, audit_head.c.unkeyed_key_id, audit_head.c.unkeyed_seal)
UNKEYED_HEAD = sa.select(*_UNKEYED)
HEAD = sa.select(audit_head.c.seq, audit_head.c.seal, *_UNKEYED).with_for_update()
NEW_HEAD = sa.insert(audit_head).values(id=1, seq=0, seal="")
SIGN_HEAD = sa.update(audit_head)
NEWEST = (
    sa.select(audit_log.c.seq, audit_log.c.seal)
    .where(audit_log.c.seq.is_not(None))
    .order_by(audit_log.c.seq.desc())
    .limit(1)
)
FIRST_KEYED = (
    sa.select(audit_log.c.seq)
    .where(audit_log.c.seq.is_not(None), audit_log.c.key_id != UNKEYED)
    .order_by(audit_log.c.seq)
    .limit(1)
)
