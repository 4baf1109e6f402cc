"""How the tenants' database and Redis compare: a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from opsdash.text import count


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDrift:
    """Whether the tenants' database and Redis differ, by counts, times of change and digests.

    Attributes:
        rows: Rows now; None where only reading them all could tell. ``newest_at``: the newest change, in UTC.
        mark: The sum of all times of change; empty where the rows have none.
        synced_rows: Rows at the last sync; None when none is known. ``synced_newest_at``, ``synced_mark``: as above.
        synced_at: When it ended, in UTC. ``synced_by``: who ran it.
        unreadable: Rows that it could not write. ``unfinished``: a later one has not come to its end (yet).
        keys: Tenants with a key now, as far as syncs made them; ``synced_keys``: at the end of the last sync.
        altered: Tenants whose key was changed or removed outside opsdash, as far as the watch has come; a few of them.
        since: The first change in the database after it, else when a console first saw that they differ, in UTC.
    """

    rows: int | None
    newest_at: datetime | None = None
    mark: str = ""
    synced_rows: int | None = None
    synced_newest_at: datetime | None = None
    synced_mark: str = ""
    synced_at: datetime | None = None
    synced_by: str = ""
    unreadable: int = 0
    unfinished: bool = False
    keys: int | None = None
    synced_keys: int | None = None
    altered: tuple[str, ...] = ()
    since: datetime | None = None

    @property
    def differs(self) -> bool:
        """Whether there is a reason to say so."""
        return bool(self.reasons)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What differs, a few words each; empty when nothing does, as far as this tells."""
        found = ["a sync was begun and has not come to its end"] if self.unfinished else []
        if self.synced_rows is None:
            return tuple(found) or (() if self.rows == 0 else ("no sync is known: none was run, or Redis was emptied",))
        if self.rows is not None and self.rows != self.synced_rows:
            more = self.rows - self.synced_rows
            found.append(f"{count(abs(more), 'tenant')} {'more' if more > 0 else 'fewer'} in the database")
        elif self.rows is not None and (self.newest_at, self.mark) != (self.synced_newest_at, self.synced_mark):
            found.append("tenants were changed in the database")
        if self.altered:
            found.append(f"keys in Redis are not as they were written: {', '.join(self.altered)}")
        if self.keys != self.synced_keys:
            if not self.unfinished:
                found.append("what opsdash knows of the keys in Redis was changed outside of it")
        elif self.keys is not None and self.keys > self.synced_rows:
            gone = self.keys - self.synced_rows
            found.append(f"{count(gone, 'key')} in Redis of tenants that are gone from the database")
        if self.unreadable:
            found.append(f"{count(self.unreadable, 'row')} could not be read by the last sync")
        return tuple(found)

    @property
    def message(self) -> str:
        """One sentence; empty when nothing differs."""
        if not self.differs:
            return ""
        since = f" since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"Tenant configs in database and Redis differ{since}: {'; '.join(self.reasons)}."

    @property
    def unseen(self) -> str:
        """What this can't tell, in a sentence."""
        if self.rows is None:
            rows = "What the tenant source gives is not compared."
        elif not self.mark:
            rows = "A row that is changed in place is not seen: the table has no time of change."
        else:
            rows = "A row that is changed without its updated_at is not seen."
        return f"{rows} Keys in Redis are compared a few hundred at a time. The sync's preview compares everything."
