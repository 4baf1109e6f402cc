"""A row of ``audit_log`` as a value, however it was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsdash.model import AuditEntry, Status
from opsdash.text import safe

WRITTEN = (
    *("id", "timestamp", "user", "operation", "details", "status", "request_id", "finished_at"),
    *("seq", "key_id", "seal"),
)
"""The columns that opsdash writes; what the database derives from them is not among them."""
HEAD = ", ".join(("seq", "seal"))
"""What the head's row says of the newest entry."""


def entry_of(values: Mapping[str, Any]) -> AuditEntry:
    """The entry of the columns `WRITTEN`, in Python's types; what others wrote is made fit to be shown."""
    details = values["details"]
    if not isinstance(details, dict):
        details = {"message": "The details of this entry are not a JSON object."}
    kept = {"status": Status(values["status"]), "details": safe(details)}
    kept |= {name: safe(values[name]) for name in ("user", "operation", "key_id", "seal")}
    return AuditEntry(**{**values, **kept})
