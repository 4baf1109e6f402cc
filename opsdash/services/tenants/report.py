"""What one sync did, or has seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from opsdash.services.tenants.redaction import MAX_ID_LENGTH

NAMED = 200
"""Tenants whose result is listed; the rest is only counted."""


@dataclass(slots=True)
class SyncReport:
    """What one sync did.

    Attributes:
        written: How many configurations were written. ``unchanged``: how many needed no write.
        removed: Orphaned keys that were removed.
        unreadable: Rows that could not be written. ``failed``: tenant → why, for the first of them.
        rows: Rows read, and those that need not be. ``last_id``: of the last one; two of the same id are neighbours.
        first_written: The first of those that were.
        cancelled: It ended before the last row.
    """

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    unreadable: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    first_written: list[str] = field(default_factory=list)
    cancelled: bool = False
    last_id: str | None = None

    @property
    def results(self) -> dict[str, str]:
        """Tenant → ``synced`` or why not, for at most `NAMED` of them, the failed ones first."""
        named = {**self.failed, **{tenant: "synced" for tenant in self.first_written if tenant not in self.failed}}
        return dict(list(named.items())[:NAMED])

    def fail(self, tenant_id: str, why: str) -> None:
        """Notes a bad row; its name only while there is room."""
        self.unreadable += 1
        if len(self.failed) < NAMED:
            named = tenant_id[:MAX_ID_LENGTH].encode(errors="backslashreplace").decode()
            self.failed[named or "(empty)"] = why
