"""The newest end of the hash chain: entries finished since a number, and whether the last entries are valid."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from opsdash.model import AuditEntry
from opsdash.services.audit.chain import ChainSigner, covered, verifies
from opsdash.services.audit.query import entry_of_row
from opsdash.services.database.engine import answering
from opsdash.services.database.tables import audit_head, audit_log


def head(engine: sa.Engine) -> int:
    """The number of the newest entry in the chain; 0 without one. Cost: one row.

    Raises:
        Unavailable: The database did not answer.
    """
    with answering(engine), engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.max(audit_log.c.seq))) or 0)


def unkeyed_through(engine: sa.Engine, signer: ChainSigner) -> int:
    """Up to which number entries have no key; 0: none. Cost: one row.

    Raises:
        Unavailable: The database did not answer.
    """
    with answering(engine), engine.connect() as connection:
        through = signer.keyring(connection).unkeyed_through
    return head(engine) if through is None else through


def finished_after(engine: sa.Engine, seq: int, limit: int) -> tuple[AuditEntry, ...]:
    """Entries that were finished after number ``seq``, in that order. Cost: a range of ``ix_audit_log_seq``.

    Raises:
        Unavailable: The database did not answer.
    """
    query = sa.select(audit_log).where(audit_log.c.seq > seq).order_by(audit_log.c.seq).limit(limit)
    with answering(engine), engine.connect() as connection:
        return tuple(map(entry_of_row, connection.execute(query)))


def problems(engine: sa.Engine, signer: ChainSigner, newest: int) -> tuple[int, list[str]]:
    """Checks the last ``newest`` entries and the head; ``audit_verify.verify`` checks all.

    Cost: ``newest`` rows by ``ix_audit_log_seq``, about 20 µs each.

    Returns:
        How many entries were checked, and a sentence for each fault.

    Raises:
        Unavailable: The database did not answer.
    """
    query = sa.select(audit_log).where(audit_log.c.seq.is_not(None)).order_by(audit_log.c.seq.desc()).limit(newest + 1)
    with answering(engine), engine.connect() as connection, connection.begin():
        keyring = signer.keyring(connection)
        rows: list[Any] = [row._mapping for row in connection.execute(query)][::-1]
        kept = connection.execute(sa.select(audit_head.c.seq, audit_head.c.seal)).one_or_none()
    last = (rows[-1]["seq"], rows[-1]["seal"]) if rows else (0, "")
    found = [] if last == (tuple(kept) if kept is not None else (0, "")) else ["the head is not the newest entry's"]
    if rows and rows[0]["seq"] == 1:
        rows.insert(0, {"seq": 0, "seal": ""})
    if keyring.fault:
        found.append(keyring.fault.rstrip("."))
    for before, row in pairwise(rows):
        number, key = row["seq"], keyring.key(row["key_id"], row["seq"])
        if number != before["seq"] + 1:
            found.append(f"an entry before {number} was removed")
        elif key is None:
            found.append(f"entry {number} is {keyring.unverified(row['key_id'])}")
        elif not verifies(key, before["seal"] or "", covered(row), row["seal"] or ""):
            found.append(f"entry {number} was changed")
    return max(0, len(rows) - 1), found
