"""Verifies the hash chain: names entries that were changed, removed, inserted or reordered."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from opsdash.model import Status
from opsdash.services.audit import stored_rows
from opsdash.services.audit.chain import BEFORE, UNKEYED, ChainSigner, Keyring, mac_with, verifies
from opsdash.services.audit.stored_rows import Values
from opsdash.services.database.engine import answering
from opsdash.services.database.tables import audit_head, audit_log
from opsdash.text import count

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
    """Walks the whole chain. Cost: one pass over the table by ``ix_audit_log_seq``, in bounded memory, 10 µs an entry.

    Args:
        head: A head noted earlier, as ``number:seal``: the chain must still contain it.
        on_progress: Called with (entries checked, entries in total).

    Raises:
        Unavailable: The database did not answer.
    """
    found = Verification()
    with answering(engine), engine.connect() as connection:
        connection = connection.execution_options(isolation_level=_SNAPSHOT.get(engine.dialect.name, "SERIALIZABLE"))
        _without_limit(connection)
        newest = connection.execute(sa.select(audit_head.c.seq, audit_head.c.seal)).one_or_none()
        total = int(connection.scalar(sa.select(sa.func.count(audit_log.c.seq))) or 0)
        keyring = signer.keyring(connection)
        found.unkeyed_through = keyring.unkeyed_through
        if keyring.fault:
            found.fault(keyring.fault)
        walk = Walk(found, keyring, *_beginning(connection), *_parsed(head))
        stored_rows.READ[connection.dialect.name](connection, walk.step, lambda: on_progress(found.checked, total))
        last, found.head = walk.expected - 1, f"{walk.expected - 1}:{walk.previous}"
        if newest is None or (newest.seq, newest.seal) != (last, walk.previous):
            found.fault(
                "Removed: the newest entries are missing."
                if newest is not None and newest.seq > last
                else "The head does not belong to the newest entry."
            )
        if not walk.found_head:
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


class Walk:
    """From one entry to the next.

    Args:
        previous: HMAC of the entry before the first one; ``expected``: number of the first one.
        head_number: Of a head that must be on the way; None: there is no such head.
    """

    def __init__(
        self, found: Verification, keyring: Keyring, previous: str, expected: int, head_number: int | None, head: str
    ) -> None:
        self._found, self._keyring = found, keyring
        self.previous, self.expected = previous, expected
        self._head = (head_number, head)
        self.found_head = head_number is None
        self._key_id: Any = None
        self._mac: Callable[[bytes], str] | None = None

    def step(self, row: Sequence[Any], quick: Values, exact: Values) -> None:
        """The next entry.

        Args:
            row: As it is stored: what ``stored_rows.STORED`` names, and the HMAC.
            quick: What the HMAC covers, from a quick reader of JSON; ``exact``: from the one that has written it.
        """
        found, number, key_id, seal = self._found, row[0], row[1], row[-1]
        # As nearly all are: the next one, with the key of the one before, and the text that was signed.
        if number == self.expected and key_id == self._key_id and self.found_head and self._mac is not None:
            try:
                text = _SORTED.encode(quick(row))
                is_quick = self._mac(b"%b\n%b" % (self.previous.encode(), text)) == seal
            except _FOREIGN:
                is_quick = False
            if is_quick:
                self.previous, self.expected = seal, number + 1
                found.checked += 1
                return
        seal = seal if isinstance(seal, str) else ""
        if not isinstance(number, int):  # SQLite takes any value in any column
            found.fault(f"Inserted: entry {row[2]} carries the number {number!r}.")
            return
        if number != self.expected:
            missing = f"{self.expected}" if number == self.expected + 1 else f"{self.expected} to {number - 1}"
            found.fault(f"Removed: entry {missing} before {number}.")
        if (key := self._keyring.key(key_id, number)) is None:
            found.fault(f"Entry {number} ({row[2]}): {self._keyring.unverified(key_id)}.")
        elif number == self.expected and not self._is_quick(key, quick, row, seal):
            values = _none_if_foreign(exact, row)
            if values is None or not verifies(key, self.previous, values, seal):
                found.fault(f"Changed: entry {_named(values or row)}.")
        self._key_id, self._mac = key_id, None if key is None or key_id == UNKEYED else mac_with(key)
        found.unkeyed += key_id == UNKEYED
        self.found_head = self.found_head or (number, seal) == self._head
        self.previous, self.expected = seal, number + 1
        found.checked += 1

    def _is_quick(self, key: bytes, quick: Values, row: Sequence[Any], seal: str) -> bool:
        """Whether it is shown already by a text that need not be the one that was signed.

        It is JSON of the same values, and nearly always the same text. Where it is not, as with letters beyond ASCII,
        this says nothing.
        """
        values = _none_if_foreign(quick, row)
        if values is None:
            return False
        try:
            text = _SORTED.encode(values)
        except (TypeError, ValueError, OverflowError):
            return False
        return mac_with(key)(b"%b\n%b" % (self.previous.encode(errors="replace"), text)) == seal


_SORTED = msgspec.json.Encoder(order="sorted")
_FOREIGN = (TypeError, ValueError, AttributeError, OverflowError, RecursionError, msgspec.DecodeError)
"""What reading a row may raise that opsdash could not have written."""


def _none_if_foreign(values: Values, row: Sequence[Any]) -> Sequence[Any] | None:
    """What the HMAC covers of a row; None for a row that opsdash could not have written."""
    try:
        return values(row)
    except _FOREIGN:
        return None


def _named(row: Sequence[Any]) -> str:
    number, _, identity, began, user, operation, *_ = row
    with suppress(TypeError, ValueError, OverflowError):  # no instant that opsdash has written
        began = datetime.fromtimestamp(began, UTC)
    return f"{number} ({identity}, {operation} by {user} at {began})"


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
