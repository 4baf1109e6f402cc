"""One audit entry as JSON, and as a syslog message (RFC 5424)."""

from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime
from typing import Any

from opsdash.model import AuditEntry, Status, to_plain

FACILITY = 13
"""Log audit."""
SEVERITIES = {Status.SUCCESS: 5, Status.REFUSED: 4}
"""Notice, warning; of a failure and an unknown result: error."""
ERROR = 3
SD_ID = "opsdash@32473"
"""The enterprise number that RFC 5424 has for examples: opsdash has none."""
LARGE_DATAGRAM = 8_000
"""Bytes of a message over UDP: a larger one would be lost on the way."""
_NOT_PRINTED = re.compile(r"[^\x21-\x7e]")


def record(entry: AuditEntry) -> dict[str, Any]:
    """Every column."""
    plain: dict[str, Any] = to_plain(entry)
    return plain


def line(entry: AuditEntry) -> str:
    """The record as JSON on one line, as ``opsdash audit export --format jsonl`` writes it."""
    text = json.dumps(record(entry), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()


def syslog(entry: AuditEntry, *, most: int | None = None) -> bytes:
    """The message: number, HMAC and who did what as structured data, all of the entry as JSON.

    Args:
        most: Bytes; of a larger entry the JSON is left out. The structured data stays.
    """
    finished = (entry.finished_at or entry.timestamp).astimezone(UTC)
    facts = {
        "seq": entry.seq,
        "id": entry.id,
        "user": entry.user,
        "operation": entry.operation,
        "status": entry.status.value,
        "target": entry.target,
        "broker": entry.broker or "",
        "keyId": entry.key_id or "",
        "seal": entry.seal or "",
    }
    data = " ".join(f'{name}="{_escaped(str(value))}"' for name, value in facts.items())
    priority = FACILITY * 8 + SEVERITIES.get(entry.status, ERROR)
    head = f"<{priority}>1 {_time(finished)} {_name(socket.gethostname(), 255)} opsdash - {_name(entry.operation, 32)}"
    start = f"{head} [{SD_ID} {data}] \ufeff".encode("utf-8", "backslashreplace")
    whole = start + line(entry).encode()
    if most is not None and len(whole) > most:
        return start + b'{"message": "too large for a datagram: the entry is in the audit log"}'
    return whole


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _name(text: str, most: int) -> str:
    """Printable ASCII without blanks, as the header takes it; ``-`` for nothing."""
    return _NOT_PRINTED.sub("_", text)[:most] or "-"


def _escaped(text: str) -> str:
    clean = "".join(char if char.isprintable() else "?" for char in text)[:1_000]
    return clean.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
