"""One entry as a row of ``audit_log``: begun, and closed together with the chain's head."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from opsdash.model import AuditEntry, Status
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.audit.entries import WRITTEN
from opsdash.services.database.engine import two_messages
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
_NEW = ", ".join(f'"{name}" = :new_{name}' for name in WRITTEN if name != "id")
_MOVED = ", ".join(f"{name} = :new_{name}" for name in ("seq", "seal"))
_FINISH_AND_COMMIT = sa.text(
    f"""WITH finished AS (
        UPDATE audit_log SET {_NEW} WHERE id = :new_id AND status = 'in_progress' RETURNING id
    ), moved AS (
        UPDATE audit_head SET {_MOVED} WHERE EXISTS (SELECT 1 FROM finished) RETURNING id
    ) SELECT 1 / count(*) FROM moved; COMMIT"""  # noqa: S608 - the table's own columns
).bindparams(*(sa.bindparam(f"new_{name}", type_=audit_log.c[name].type) for name in WRITTEN))
"""Fails, and so commits nothing, where there was nothing to finish or no head to move."""
_DIVISION_BY_ZERO = "22012"


def _row(entry: AuditEntry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in WRITTEN}
    return row | {"status": entry.status.value, "details": dict(entry.details)}


def insert(connection: sa.Connection, entry: AuditEntry) -> None:
    """Writes an entry that is not there yet."""
    connection.execute(_INSERT, _row(entry))


def status_of(connection: sa.Connection, entry: AuditEntry) -> str | None:
    """The status of the entry in the database; None: it is not there."""
    return connection.scalar(sa.select(audit_log.c.status).where(audit_log.c.id == entry.id))


def finish_soon(engine: sa.Engine, signer: ChainSigner, entry: AuditEntry) -> bool:
    """Finishes an entry that is in progress, and moves the head, in two round trips, where it is PostgreSQL.

    Others wait for the head meanwhile. False: it was not as usual, and nothing was done: `close` knows what to do.
    """
    if engine.dialect.name != "postgresql":
        return False
    try:
        with two_messages(engine) as connection:
            sealed = signer.next(connection, entry, begin=True)
            connection.execute(_FINISH_AND_COMMIT, {f"new_{name}": value for name, value in _row(sealed).items()})
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _DIVISION_BY_ZERO:
            raise
        return False
    return True


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
