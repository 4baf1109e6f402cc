"""The seal of the audit log: each finished entry carries a number and an HMAC over itself and its predecessor's seal.

Whoever changes, removes, inserts or reorders an entry without the key breaks the chain at that entry. Who cuts off the
newest entries and sets the head back does not: keep the head elsewhere (it is logged and shown) and compare.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from opsdash.errors import Invalid
from opsdash.model import AuditEntry
from opsdash.services.tables import audit_head, audit_log

UNKEYED = "unkeyed"
"""Key id of seals made without OPSDASH_SECRET_KEY: they show an accident, and keep nobody out."""
BEFORE = "before sealing"
"""Key id of entries that were finished before there were seals."""
_PURPOSE = b"opsdash: seal the audit log"
_HEAD = sa.select(audit_head.c.seq, audit_head.c.seal).with_for_update()
_NEWEST = (
    sa.select(audit_log.c.seq, audit_log.c.seal)
    .where(audit_log.c.seq.is_not(None))
    .order_by(audit_log.c.seq.desc())
    .limit(1)
)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Sealer:
    """Holds the keys.

    Attributes:
        secret: Gives the deployment's secret; raises Invalid where there is none.
        old_secrets: Secrets of before a rotation: they verify, and seal nothing.
    """

    secret: Callable[[], bytes]
    old_secrets: tuple[bytes, ...] = ()

    def key(self) -> tuple[str, bytes]:
        """The id and the key that seal now."""
        try:
            return _derived(self.secret())
        except Invalid:
            return UNKEYED, b""

    def keys(self) -> dict[str, bytes]:
        """Every key that verifies, by its id."""
        return {UNKEYED: b"", **dict([*map(_derived, self.old_secrets), self.key()])}

    def mac(self, text: str) -> str:
        """A keyed digest of what opsdash leaves in Redis for itself."""
        return _hmac(self.key()[1], b"spool", text.encode())

    def is_mac(self, text: str, mac: str) -> bool:
        """Whether one of the keys made it."""
        return any(hmac.compare_digest(_hmac(key, b"spool", text.encode()), mac) for key in self.keys().values())

    def next(self, connection: sa.Connection, entry: AuditEntry) -> AuditEntry:
        """A finished entry with the next number and its seal; whoever writes it moves the head too.

        The head's row is locked until the caller's transaction ends: of two that finish at once one waits.
        """
        head = connection.execute(_HEAD).one_or_none()
        if head is None:  # somebody removed the row; the newest seal still says where the chain ends
            head = connection.execute(_NEWEST).one_or_none()
            connection.execute(sa.insert(audit_head).values(id=1, seq=0, seal=""))
        number, previous = (head.seq, head.seal) if head is not None else (0, "")
        key_id, key = self.key()
        numbered = replace(entry, seq=number + 1, key_id=key_id)
        return replace(numbered, seal=seal_of(key, previous, covered(_fields(numbered))))


def is_seal(key: bytes, previous: str, values: Sequence[Any], seal: str) -> bool:
    """Whether this is the seal that an entry's content and its predecessor's seal give."""
    return hmac.compare_digest(seal_of(key, previous, values).encode(), seal.encode())


def seal_of(key: bytes, previous: str, values: Sequence[Any]) -> str:
    """The seal of one entry.

    Args:
        previous: Its predecessor's seal.
        values: What `covered` gives.
    """
    return _hmac(key, previous.encode(), _encode(values).encode())


def covered(row: Mapping[str, Any]) -> Sequence[Any]:
    """What a seal covers: every column but the seal, each so that its JSON comes out the same from every database."""
    return (
        row["seq"],
        row["key_id"],
        str(row["id"]),
        _moment(row["timestamp"]),
        row["user"],
        row["operation"],
        row["details"],
        str(row["status"]),
        str(row["request_id"]),
        _moment(row["finished_at"]),
    )


def _fields(entry: AuditEntry) -> dict[str, Any]:
    return {column.name: getattr(entry, column.name) for column in audit_log.c} | {"details": dict(entry.details)}


def _moment(when: datetime | None) -> float | None:
    return None if when is None else when.timestamp()


def _derived(secret: bytes) -> tuple[str, bytes]:
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
    return hashlib.sha256(key).hexdigest()[:12], key


def _hmac(key: bytes, previous: bytes, text: bytes) -> str:
    return hmac.digest(key, previous + b"\n" + text, "sha256").hex()
