"""One entry as a row of ``audit_log``: begun, and closed together with the chain's head."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa

from opsdash.model import AuditEntry, Status
from opsdash.services.audit.entries import WRITTEN
from opsdash.services.database.tables import audit_head, audit_log

log = logging.getLogger(__name__)

# Made once: to put a statement together costs as much as to run it.
_INSERT = sa.insert(audit_log)
_FINISH = (
    sa.update(audit_log)
    .where(audit_log.c.id == sa.bindparam("new_id"), audit_log.c.status == Status.IN_PROGRESS.value)
    .values({audit_log.c[name]: sa.bindparam(f"new_{name}") for name in WRITTEN if name != "id"})
)
_MOVE_HEAD = sa.update(audit_head).values(seq=sa.bindparam("new_seq"), seal=sa.bindparam("new_seal"))
_FINISH_AND_MOVE = _MOVE_HEAD.where(sa.exists().select_from(_FINISH.returning(audit_log.c.id).cte("finished")))


def _row(entry: AuditEntry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in WRITTEN}
    return row | {"status": entry.status.value, "details": dict(entry.details)}


def insert(connection: sa.Connection, entry: AuditEntry) -> None:
    """Writes an entry that is not there yet."""
    connection.execute(_INSERT, _row(entry))


def status_of(connection: sa.Connection, entry: AuditEntry) -> str | None:
    """The status of the entry in the database; None: it is not there."""
    return connection.scalar(sa.select(audit_log.c.status).where(audit_log.c.id == entry.id))


def close(connection: sa.Connection, kind: str, entry: AuditEntry) -> None:
    """Writes an entry of the chain and moves the head, in few round trips, because others wait for it."""
    row = _row(entry)
    new = {f"new_{name}": value for name, value in row.items()}
    if kind == "finish":
        if connection.dialect.name == "postgresql":
            if connection.execute(_FINISH_AND_MOVE, new).rowcount:
                return
        elif connection.execute(_FINISH, new).rowcount:
            connection.execute(_MOVE_HEAD, new)
            return
    if status_of(connection, entry) is None:
        connection.execute(_INSERT, row)
        connection.execute(_MOVE_HEAD, new)
    elif kind == "finish":
        log.warning("the result %s of %s came after the entry was closed", entry.status, entry.id)
