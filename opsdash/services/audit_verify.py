"""Verifying the sealed chain: what was changed, removed, inserted or reordered is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from opsdash.model import Status
from opsdash.services.database import answering
from opsdash.services.seal import BEFORE, UNKEYED, Sealer, is_seal
from opsdash.services.tables import audit_head, audit_log
from opsdash.text import count

CHUNK = 2_000
NAMED = 20
"""Problems told one by one; the count stands for the others."""
PRUNE = "prune_audit_log"
"""The operation that takes away a beginning of the chain, and says in its own entry which one."""


@dataclass(slots=True)
class Verification:
    """What a walk along the chain found.

    Attributes:
        checked: Sealed entries.
        head: ``number:seal`` of the newest sealed entry; keep it elsewhere.
        problems: One sentence each, the first ``NAMED``; ``broken`` counts them all.
        unkeyed: Entries sealed without a key. ``before``: finished before there were seals. Neither is protected.
        in_progress: Entries without an outcome yet.
    """

    checked: int = 0
    head: str = "0:"
    problems: list[str] = field(default_factory=list)
    broken: int = 0
    unkeyed: int = 0
    before: int = 0
    in_progress: int = 0

    @property
    def ok(self) -> bool:
        """The chain is whole."""
        return self.broken == 0

    def fault(self, sentence: str) -> None:
        """Notes a problem."""
        self.broken += 1
        if len(self.problems) < NAMED:
            self.problems.append(sentence)

    @property
    def message(self) -> str:
        """One sentence for the operator."""
        said = f"{count(self.checked, 'sealed entry') if self.checked == 1 else f'{self.checked:,} sealed entries'}"
        if not self.ok:
            return f"The audit log is NOT whole: {count(self.broken, 'problem')} among {said}."
        return f"The audit log is whole: {said}, head {self.head}."


def verify(
    engine: sa.Engine,
    sealer: Sealer,
    head: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _at, _of: None,
) -> Verification:
    """Walks the whole chain. Cost: one pass over the table by ``ix_audit_log_seq``, in bounded memory.

    Args:
        head: A head noted earlier, as ``number:seal``: the chain must still contain it.
        on_progress: Told (entries checked, entries in all) now and then.

    Raises:
        Unavailable: The database did not answer.
    """
    found = Verification()
    keys = sealer.keys()
    wanted_number, wanted_seal = _parsed(head)
    met = wanted_number is None
    with answering(engine), engine.connect() as connection:
        connection = connection.execution_options(isolation_level=_SNAPSHOT.get(engine.dialect.name, "SERIALIZABLE"))
        _without_limit(connection)
        newest = connection.execute(sa.select(audit_head.c.seq, audit_head.c.seal)).one_or_none()
        total = int(connection.scalar(sa.select(sa.func.count(audit_log.c.seq))) or 0)
        previous, expected = _beginning(connection)
        for row in _sealed(connection):
            number = row["seq"]
            if number != expected:
                missing = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
                found.fault(f"Removed: sealed entry {missing} before {number}.")
            key = keys.get(row["key_id"])
            if key is None:
                found.fault(f"Entry {number} ({row['id']}): sealed with an unknown key {row['key_id']!r}.")
            elif number == expected and not is_seal(key, previous, row):
                found.fault(
                    f"Changed: entry {number} ({row['id']}, {row['operation']} by {row['user']} at {row['timestamp']})."
                )
            found.unkeyed += row["key_id"] == UNKEYED
            met = met or (number == wanted_number and row["seal"] == wanted_seal)
            previous, expected = row["seal"] or "", number + 1
            found.checked += 1
            if found.checked % CHUNK == 0:
                on_progress(found.checked, total)
        found.head = f"{expected - 1}:{previous}"
        if newest is None or (newest.seq, newest.seal) != (expected - 1, previous):
            found.fault(
                "Removed: the newest sealed entries are gone."
                if newest is not None and newest.seq > expected - 1
                else "The head does not belong to the newest sealed entry."
            )
        if not met:
            found.fault(f"The head {head} is not in the chain: entries up to it were changed or removed.")
        _unsealed(connection, found)
    return found


_SNAPSHOT = {"postgresql": "REPEATABLE READ"}


def _beginning(connection: sa.Connection) -> tuple[str, int]:
    """Where the chain begins: at 1, or after what a sealed prune entry says was taken away."""
    first = connection.execute(
        sa.select(audit_log.c.seq).where(audit_log.c.seq.is_not(None)).order_by(audit_log.c.seq).limit(1)
    ).one_or_none()
    if first is None or first.seq == 1:
        return "", 1
    prunes = sa.select(audit_log.c.details).where(
        audit_log.c.operation == PRUNE, audit_log.c.status.in_([Status.SUCCESS.value, Status.UNKNOWN.value])
    )
    for (details,) in connection.execute(prunes):
        # The walk checks the seal of this entry like every other one's.
        if isinstance(details, dict) and details.get("removed_through") == first.seq - 1:
            return str(details.get("seal_there", "")), int(first.seq)
    return "", 1


def _sealed(connection: sa.Connection) -> Iterator[Any]:
    columns = [_as_text(connection, c) if isinstance(c.type, sa.Uuid) else c for c in audit_log.c]
    query = sa.select(*columns).where(audit_log.c.seq.is_not(None)).order_by(audit_log.c.seq)
    result = connection.execution_options(yield_per=CHUNK).execute(query)
    yield from (row._mapping for row in result)


def _as_text(connection: sa.Connection, column: sa.Column[Any]) -> sa.Label[Any]:
    # A seal covers an id's text: made in the database where it can be, a row costs a fifth less here.
    if connection.dialect.name == "postgresql":
        return sa.cast(column, sa.Text).label(column.name)
    return sa.type_coerce(column, sa.Uuid(as_uuid=False)).label(column.name)


def _unsealed(connection: sa.Connection, found: Verification) -> None:
    """Finished entries outside the chain: from before there were seals, or put in by somebody else."""
    where = audit_log.c.seq.is_(None)
    found.in_progress = int(
        connection.scalar(sa.select(sa.func.count()).where(where, audit_log.c.status == Status.IN_PROGRESS.value)) or 0
    )
    finished = sa.select(audit_log.c.id, audit_log.c.operation, audit_log.c.user, audit_log.c.key_id).where(
        where, audit_log.c.status != Status.IN_PROGRESS.value
    )
    for row in connection.execute(finished):
        if row.key_id == BEFORE:
            found.before += 1
        else:
            found.fault(f"Inserted: entry {row.id} ({row.operation} by {row.user}) carries no seal.")


def _without_limit(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))


def _parsed(head: str | None) -> tuple[int | None, str]:
    if head is None:
        return None, ""
    number, _, seal = head.partition(":")
    return int(number), seal
