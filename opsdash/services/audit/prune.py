"""Taking away the beginning of the audit log, so that what stays still verifies."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from opsdash.model import Status
from opsdash.services.database.engine import answering, transaction
from opsdash.services.database.tables import audit_head, audit_log
from opsdash.values import frozen


@frozen(kw_only=True)
class Pruned:
    """How many entries were deleted; number and HMAC of the last of them in the chain (0: none was)."""

    count: int
    through: int
    seal: str


@frozen(kw_only=True)
class Prunable:
    """How many entries would go and how many would stay; how many of those that go are of other brokers."""

    going: int
    staying: int
    others: int


def prunable(engine: sa.Engine, before: datetime, here: str) -> Prunable:
    """What would go. The chain is one for all brokers on the database: none can be pruned alone.

    Args:
        here: The broker that is no other one.
    """
    number, broker = sa.func.count(), audit_log.c.broker
    with answering(engine), engine.connect() as connection:
        total = int(connection.scalar(sa.select(number).select_from(audit_log)) or 0)
        through, _ = _through(connection, before)
        counted = sa.select(number, number.filter(broker != here)).select_from(audit_log)
        going, others = connection.execute(counted.where(_going(through, before))).one()
    return Prunable(going=int(going), staying=total - int(going), others=int(others))


def prune(engine: sa.Engine, before: datetime, audit_id: UUID) -> Pruned:
    """Deletes the unbroken beginning of the chain that is older, in one transaction with the note of where it ends.

    Args:
        audit_id: The entry of this very act, still in progress: it keeps the note even if its process dies now.

    Raises:
        Unavailable: Nothing was deleted.
    """
    with transaction(engine.execution_options(sqlite_begin="IMMEDIATE")) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(audit_head.c.seq).with_for_update())
        through, seal = _through(connection, before)
        count = connection.execute(sa.delete(audit_log).where(_going(through, before))).rowcount
        own = audit_log.c.id == audit_id
        details = connection.scalar(sa.select(audit_log.c.details).where(own))
        if count and isinstance(details, dict):
            updated = details | {"removed_through": through, "seal_there": seal}
            connection.execute(sa.update(audit_log).where(own).values(details=updated))
    return Pruned(count=count, through=through, seal=seal)


def _through(connection: sa.Connection, before: datetime) -> tuple[int, str]:
    """The last entry of the chain's beginning that is older as a whole."""
    sealed = audit_log.c.seq.is_not(None)
    first_kept = connection.scalar(
        sa.select(sa.func.min(audit_log.c.seq)).where(sealed, audit_log.c.timestamp >= before)
    )
    last = sa.select(audit_log.c.seq, audit_log.c.seal).where(sealed).order_by(audit_log.c.seq.desc()).limit(1)
    if first_kept is not None:
        last = last.where(audit_log.c.seq < first_kept)
    row = connection.execute(last).one_or_none()
    return (0, "") if row is None else (int(row.seq), str(row.seal))


def _going(through: int, before: datetime) -> sa.ColumnElement[bool]:
    unsealed = sa.and_(
        audit_log.c.seq.is_(None),
        audit_log.c.status != Status.IN_PROGRESS.value,
        audit_log.c.timestamp < before,
    )
    return sa.or_(audit_log.c.seq <= through, unsealed)
