"""The hash chain of the audit log: each finished entry has a number and an HMAC over itself and the HMAC before it.

A user without the key who changes, removes, inserts or reorders an entry breaks the chain there. A user who deletes the
newest entries and sets the head back does not: keep copies of the head (it is logged and shown) and compare.

The empty key is no key: once there is a secret, entries without a key are accepted only up to the number that the
head had when the secret was set. That number is in the head's row, signed with the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from opsdash.errors import Invalid, Unavailable
from opsdash.model import AuditEntry
from opsdash.services.audit.entries import WRITTEN

if TYPE_CHECKING:
    import sqlalchemy as sa

UNKEYED = "unkeyed"
"""Key id of entries without OPSDASH_SECRET_KEY: their HMAC shows an accident, but no attack."""
BEFORE = "before sealing"
"""Key id of entries that were finished before the hash chain existed."""
KEY = "OPSDASH_SECRET_KEY"
LOST_KEY = "not set here, and the audit log was written with one; expected the other consoles' key."
_PURPOSE = b"opsdash: seal the audit log"
_BLOCK = 64
"""Bytes of a block of SHA-256."""
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Keyring:
    """Which key verifies which entry.

    Attributes:
        keys: Key id → key.
        unkeyed_through: Entries up to this number may be without a key; None: all may, there is no secret.
        fault: What is wrong with that number, in a sentence; empty: nothing.
    """

    keys: Mapping[str, bytes]
    unkeyed_through: int | None = None
    fault: str = ""

    def key(self, key_id: Any, number: int) -> bytes | None:
        """The key of one entry; None where none verifies it."""
        if key_id != UNKEYED:
            return self.keys.get(key_id)
        return b"" if self.unkeyed_through is None or number <= self.unkeyed_through else None

    def unverified(self, key_id: Any) -> str:
        """Why no key verifies an entry, in a few words."""
        if key_id == UNKEYED:
            return f"written without a key, which is not accepted after number {self.unkeyed_through}"
        return f"written with an unknown key {key_id!r}"


@dataclass(frozen=True, slots=True)
class ChainSigner:
    """Holds the keys.

    Attributes:
        secret: Gives the deployment's secret; raises Invalid where there is none.
        old_secrets: Secrets from before a rotation: they only verify.
    """

    secret: Callable[[], bytes]
    old_secrets: tuple[bytes, ...] = ()

    def key(self) -> tuple[str, bytes]:
        """The id and the key for new entries."""
        try:
            return _derived(self.secret())
        except Invalid:
            return UNKEYED, b""

    @property
    def keyed(self) -> bool:
        """Whether there is a secret."""
        return self.key()[0] != UNKEYED

    def keys(self) -> dict[str, bytes]:
        """Every key that verifies, by its id. The empty one is among them only while there is no secret."""
        return dict([*map(_derived, self.old_secrets), self.key()])

    def keyring(self, connection: sa.Connection) -> Keyring:
        """The keys, and up to which entry none is needed. Cost: one row; two more until that number is signed."""
        keys = self.keys()
        if UNKEYED in keys:
            return Keyring(keys)
        from opsdash.services.audit import chain_statements as statements  # SQLAlchemy, here and below

        stored = connection.execute(statements.UNKEYED_HEAD).one_or_none()
        if stored is None or stored.unkeyed_seal is None:
            return Keyring(keys, _unkeyed_so_far(connection))
        if (key := keys.get(stored.unkeyed_key_id)) is None:
            why = "is signed with an unknown key"
        elif not _is_unkeyed_head(key, stored):
            why = "was changed"
        else:
            return Keyring(keys, stored.unkeyed_through)
        fault = f"The number up to which entries need no key ({stored.unkeyed_through}) {why}."
        return Keyring(keys, _unkeyed_so_far(connection), fault)

    def mac(self, text: str) -> str:
        """A keyed digest of what opsdash leaves in Redis for itself."""
        return _hmac(self.key()[1], b"spool", text.encode())

    def is_mac(self, text: str, mac: str) -> bool:
        """Whether one of the keys made it."""
        # As bytes: of two texts of which one is not ASCII it would raise. What is no text at all matches nothing.
        data, given = text.encode(errors="replace"), mac.encode(errors="replace")
        return any(hmac.compare_digest(_hmac(key, b"spool", data).encode(), given) for key in self.keys().values())

    def next(self, connection: sa.Connection, entry: AuditEntry) -> AuditEntry:
        """A finished entry with the next number and its HMAC. The caller must also move the head.

        The head's row is locked until the caller's transaction ends: of two that finish at once one waits.

        Raises:
            Unavailable: There is no secret here, and the log was written with one before.
        """
        from opsdash.services.audit import chain_statements as statements

        key_id, key = self.key()
        head: Any = connection.execute(statements.HEAD).one_or_none()
        if head is None:  # the row was removed; the newest entry still says where the chain ends
            connection.execute(statements.NEW_HEAD)
            self._sign_unkeyed_head(connection, None)
            head = connection.execute(statements.NEWEST).one_or_none()
        elif key_id == UNKEYED and head.unkeyed_seal is not None:
            raise Unavailable(LOST_KEY, setting=KEY, retry=False)
        elif head.unkeyed_key_id != key_id:
            self._sign_unkeyed_head(connection, head)
        number, previous = (head.seq, head.seal) if head is not None else (0, "")
        numbered = replace(entry, seq=number + 1, key_id=key_id)
        return replace(numbered, seal=seal_of(key, previous, covered(_fields(numbered))))

    def _sign_unkeyed_head(self, connection: sa.Connection, head: Any) -> None:
        """When the secret is first set, and when it is rotated. A number that another key has signed stays."""
        from opsdash.services.audit import chain_statements as statements

        key_id, key = self.key()
        if key_id == UNKEYED:
            return
        if head is None or head.unkeyed_seal is None:
            through = _unkeyed_so_far(connection)
        else:
            old = self.keys().get(head.unkeyed_key_id)
            if old is None or not _is_unkeyed_head(old, head):
                return  # verifying tells it
            through = head.unkeyed_through
        unkeyed_head = {
            "unkeyed_through": through,
            "unkeyed_key_id": key_id,
            "unkeyed_seal": _unkeyed_seal(key, through),
        }
        connection.execute(statements.SIGN_HEAD, unkeyed_head)


def _unkeyed_so_far(connection: sa.Connection) -> int:
    """Up to which number all entries are without a key. Cost: that many rows, once."""
    from opsdash.services.audit import chain_statements as statements

    keyed = connection.scalar(statements.FIRST_KEYED)
    if keyed is not None:
        return int(keyed) - 1
    newest = connection.execute(statements.NEWEST).one_or_none()
    return 0 if newest is None else int(newest.seq)


def _is_unkeyed_head(key: bytes, row: Any) -> bool:
    return hmac.compare_digest(_unkeyed_seal(key, row.unkeyed_through).encode(), str(row.unkeyed_seal).encode())


def _unkeyed_seal(key: bytes, through: Any) -> str:
    return _hmac(key, b"sealed without a key up to", str(through).encode())


def verifies(key: bytes, previous: str, values: Sequence[Any], seal: str) -> bool:
    """Whether this is the HMAC of an entry's content and its predecessor's HMAC."""
    return hmac.compare_digest(seal_of(key, previous, values).encode(), seal.encode())


def seal_of(key: bytes, previous: str, values: Sequence[Any]) -> str:
    """The HMAC of one entry.

    Args:
        previous: Its predecessor's HMAC.
        values: What `covered` gives.
    """
    return _hmac(key, previous.encode(), _encode(values).encode())


def covered(row: Mapping[str, Any]) -> Sequence[Any]:
    """What the HMAC covers: every column except ``seal``, in a form whose JSON is the same from every database.

    The broker is in the details, and so is whatever comes later: a console of another version verifies it too.
    """
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
    return {name: getattr(entry, name) for name in WRITTEN} | {"details": dict(entry.details)}


def _moment(when: datetime | None) -> float | None:
    return None if when is None else when.timestamp()


def _derived(secret: bytes) -> tuple[str, bytes]:
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
    return hashlib.sha256(key).hexdigest()[:12], key


def _hmac(key: bytes, previous: bytes, text: bytes) -> str:
    return mac_with(key)(previous + b"\n" + text)


@lru_cache(maxsize=32)
def mac_with(key: bytes) -> Callable[[bytes], str]:
    """What makes the HMAC-SHA256 with this key, as hexadecimal text (RFC 2104).

    Its two hashes are begun once for a key: ``hmac.digest`` begins both again for each text, four times as slow.
    """
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))

    def mac(text: bytes) -> str:
        begun, ended = inner.copy(), outer.copy()
        begun.update(text)
        ended.update(begun.digest())
        return ended.hexdigest()

    return mac
