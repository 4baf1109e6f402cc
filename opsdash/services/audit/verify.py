"""Verifies the hash chain: names entries that were changed, removed, inserted or reordered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from opsdash.model import Status
from opsdash.services.audit.chain import BEFORE, UNKEYED, ChainSigner, verifies
from opsdash.services.database.engine import answering
from opsdash.services.database.tables import UtcDateTime, audit_head, audit_log
from opsdash.text import count

CHUNK = 2_000
NAMED = 20
"""Problems that are listed; the rest is only counted."""
PRUNE = "prune_audit_log"
"""The operation that takes away a beginning of the chain, and says in its own entry which one."""


@dataclass(slots=True)
class Verification:
    """What a walk along the chain found.

    Attributes:
        checked: Entries in the chain.
        head: ``number:seal`` of the newest entry in the chain; keep copies of it.
        problems: One sentence each, the first ``NAMED``; ``broken`` counts them all.
        unkeyed: Entries without a key. ``before``: finished before the chain existed. Neither is protected.
        unkeyed_through: With a secret: entries up to this number were written before it was set. None: there is
            no secret here.
        in_progress: Entries without an outcome yet.
    """

    checked: int = 0
    head: str = "0:"
    problems: list[str] = field(default_factory=list)
    broken: int = 0
    unkeyed: int = 0
    before: int = 0
    in_progress: int = 0
    unkeyed_through: int | None = None

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
        entries = (
            f"{count(self.checked, 'entry') if self.checked == 1 else f'{self.checked:,} entries'} in the hash chain"
        )
        if not self.ok:
            return f"The audit log is NOT whole: {count(self.broken, 'problem')} among {entries}."
        return f"The audit log is whole: {entries}, head {self.head}."


def verify(
    engine: sa.Engine,
    signer: ChainSigner,
    head: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _at, _of: None,
) -> Verification:
    """Walks the whole chain. Cost: one pass over the table by ``ix_audit_log_seq``, in bounded memory, 15 µs an entry.

    Args:
        head: A head noted earlier, as ``number:seal``: the chain must still contain it.
        on_progress: Called with (entries checked, entries in total).

    Raises:
        Unavailable: The database did not answer.
    """
    found = Verification()
    head_number, head_seal = _parsed(head)
    found_head = head_number is None
    with answering(engine), engine.connect() as connection:
        connection = connection.execution_options(isolation_level=_SNAPSHOT.get(engine.dialect.name, "SERIALIZABLE"))
        _without_limit(connection)
        newest = connection.execute(sa.select(audit_head.c.seq, audit_head.c.seal)).one_or_none()
        total = int(connection.scalar(sa.select(sa.func.count(audit_log.c.seq))) or 0)
        keyring = signer.keyring(connection)
        found.unkeyed_through = keyring.unkeyed_through
        if keyring.fault:
            found.fault(keyring.fault)
        previous, expected = _beginning(connection)
        for row, seal, covered in _sealed(connection):
            number, key_id = row[:2]
            if not isinstance(number, int):  # SQLite takes any value in any column
                found.fault(f"Inserted: entry {row[2]} carries the number {number!r}.")
                continue
            if number != expected:
                missing = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
                found.fault(f"Removed: entry {missing} before {number}.")
            if (key := keyring.key(key_id, number)) is None:
                found.fault(f"Entry {number} ({row[2]}): {keyring.unverified(key_id)}.")
            elif number == expected and (covered is None or not verifies(key, previous, covered, seal)):
                found.fault(f"Changed: entry {_named(covered or row)}.")
            found.unkeyed += key_id == UNKEYED
            found_head = found_head or (number == head_number and seal == head_seal)
            previous, expected = seal, number + 1
            found.checked += 1
            if found.checked % CHUNK == 0:
                on_progress(found.checked, total)
        found.head = f"{expected - 1}:{previous}"
        if newest is None or (newest.seq, newest.seal) != (expected - 1, previous):
            found.fault(
                "Removed: the newest entries are missing."
                if newest is not None and newest.seq > expected - 1
                else "The head does not belong to the newest entry."
            )
        if not found_head:
            found.fault(f"The head {head} is not in the chain: entries up to it were changed or removed.")
        _unsealed(connection, found)
    return found


_SNAPSHOT = {"postgresql": "REPEATABLE READ"}


def _beginning(connection: sa.Connection) -> tuple[str, int]:
    """Where the chain begins: at 1, or after the entries that a prune entry of the chain has deleted."""
    first = connection.execute(
        sa.select(audit_log.c.seq).where(audit_log.c.seq.is_not(None)).order_by(audit_log.c.seq).limit(1)
    ).one_or_none()
    if first is None or first.seq == 1:
        return "", 1
    prunes = sa.select(sa.cast(audit_log.c.details, sa.Text)).where(
        audit_log.c.operation == PRUNE, audit_log.c.status.in_([Status.SUCCESS.value, Status.UNKNOWN.value])
    )
    for (text,) in connection.execute(prunes):
        # The walk checks the HMAC of this entry like every other.
        with suppress(TypeError, ValueError, AttributeError):
            details = json.loads(text)
            if details.get("removed_through") == first.seq - 1:
                return str(details.get("seal_there", "")), int(first.seq)
    return "", 1


def _sealed(connection: sa.Connection) -> Iterator[tuple[Sequence[Any], str, Sequence[Any] | None]]:
    """Each stored row, its HMAC, and what that covers; None for a row that opsdash could not have written."""
    columns, values = _STORED[connection.dialect.name]
    query = sa.select(*columns, audit_log.c.seal).where(audit_log.c.seq.is_not(None)).order_by(audit_log.c.seq)
    for rows in connection.execution_options(yield_per=CHUNK).execute(query).partitions():
        for row in rows:
            seal = row[-1] if isinstance(row[-1], str) else ""
            try:
                yield row, seal, values(row)
            except (TypeError, ValueError, AttributeError):
                yield row, seal, None


def _of_postgresql(row: Sequence[Any]) -> Sequence[Any]:
    return (*row[:6], json.loads(row[6]), *row[7:10])


def _of_sqlite(row: Sequence[Any]) -> Sequence[Any]:
    number, key_id, identity, began, user, operation, details, status, request_id, finished, _ = row
    return (
        number,
        key_id,
        str(UUID(identity)),
        _seconds(began),
        user,
        operation,
        json.loads(details),
        status,
        str(UUID(request_id)),
        _seconds(finished),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _plain(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, UtcDateTime):
        return sa.cast(sa.extract("epoch", column), sa.Double)
    return sa.cast(column, sa.Text) if isinstance(column.type, sa.Uuid | sa.JSON) else column


def _named(row: Sequence[Any]) -> str:
    number, _, identity, began, user, operation, *_ = row
    with suppress(TypeError, ValueError, OverflowError):  # no instant that opsdash has written
        began = datetime.fromtimestamp(began, UTC)
    return f"{number} ({identity}, {operation} by {user} at {began})"


_COVERED = (
    audit_log.c.seq,
    audit_log.c.key_id,
    audit_log.c.id,
    audit_log.c.timestamp,
    audit_log.c.user,
    audit_log.c.operation,
    audit_log.c.details,
    audit_log.c.status,
    audit_log.c.request_id,
    audit_log.c.finished_at,
)
# As text and seconds, made in the database where it can: a row in Python's own types costs three times as much.
_STORED: Mapping[str, tuple[Sequence[Any], Callable[[Sequence[Any]], Sequence[Any]]]] = {
    "postgresql": ([_plain(column) for column in _COVERED], _of_postgresql),
    "sqlite": ([sa.type_coerce(column, sa.Text) for column in _COVERED], _of_sqlite),
}


def _unsealed(connection: sa.Connection, found: Verification) -> None:
    """Finished entries outside the chain: from before it existed, or inserted by someone else."""
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
            found.fault(f"Inserted: entry {row.id} ({row.operation} by {row.user}) is not in the hash chain.")


def _without_limit(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))


def _parsed(head: str | None) -> tuple[int | None, str]:
    if head is None:
        return None, ""
    number, _, seal = head.partition(":")
    return int(number), seal
