"""How the tenants' database and Redis compare: a frozen value."""

from __future__ import annotations

import enum
from datetime import datetime

from opsdash.text import count
from opsdash.values import frozen


class TenantDifferenceKind(enum.StrEnum):
    """In what the two differ; ``LEFT`` says which of them no later change made."""

    UNFINISHED = "unfinished"
    NEVER_SYNCED = "never_synced"
    MORE_ROWS = "more_rows"
    FEWER_ROWS = "fewer_rows"
    ROWS_CHANGED = "rows_changed"
    KEYS_ALTERED = "keys_altered"
    INDEX_ALTERED = "index_altered"
    ORPHANED = "orphaned"
    UNREADABLE = "unreadable"


LEFT = frozenset({TenantDifferenceKind.ORPHANED, TenantDifferenceKind.UNREADABLE})
"""What the last sync knew of and left as it was: nothing has changed since."""


@frozen(kw_only=True)
class TenantDifference:
    """One difference.

    Attributes:
        number: Tenants, rows or keys, where they are counted.
        tenants: A few of them, where they are known.
    """

    kind: TenantDifferenceKind
    number: int = 0
    tenants: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Something was changed since the last sync."""
        return self.kind not in LEFT

    @property
    def message(self) -> str:
        """A few words."""
        match self.kind:
            case TenantDifferenceKind.UNFINISHED:
                return "a sync has started and not ended"
            case TenantDifferenceKind.NEVER_SYNCED:
                return "no sync is known: none was run, or Redis was emptied"
            case TenantDifferenceKind.MORE_ROWS:
                return f"{count(self.number, 'tenant')} more in the database"
            case TenantDifferenceKind.FEWER_ROWS:
                return f"{count(self.number, 'tenant')} fewer in the database"
            case TenantDifferenceKind.ROWS_CHANGED:
                return "tenants were changed in the database"
            case TenantDifferenceKind.KEYS_ALTERED:
                return f"keys in Redis are not as they were written: {', '.join(self.tenants)}"
            case TenantDifferenceKind.INDEX_ALTERED:
                return "what opsdash knows of the keys in Redis was changed outside of it"
            case TenantDifferenceKind.ORPHANED:
                return f"{count(self.number, 'orphaned key')} in Redis, of tenants that are gone from the database"
            case TenantDifferenceKind.UNREADABLE:
                return f"{count(self.number, 'unreadable row')} in the database, left out by the last sync"


@frozen(kw_only=True)
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
        since: The first change in the database after it, else when a console first saw a change, in UTC; None where
            nothing was changed.
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
        return bool(self.differences)

    @property
    def changed(self) -> bool:
        """Something was changed since the last sync, as far as this tells."""
        return any(one.changed for one in self.differences)

    @property
    def differences(self) -> tuple[TenantDifference, ...]:
        """What differs; empty when nothing does, as far as this tells."""
        kinds = TenantDifferenceKind
        found = [TenantDifference(kind=kinds.UNFINISHED)] if self.unfinished else []
        if self.synced_rows is None:
            never = () if self.rows == 0 else (TenantDifference(kind=kinds.NEVER_SYNCED),)
            return tuple(found) or never
        if self.rows is not None and self.rows != self.synced_rows:
            more = self.rows - self.synced_rows
            kind = kinds.MORE_ROWS if more > 0 else kinds.FEWER_ROWS
            found.append(TenantDifference(kind=kind, number=abs(more)))
        elif self.rows is not None and (self.newest_at, self.mark) != (self.synced_newest_at, self.synced_mark):
            found.append(TenantDifference(kind=kinds.ROWS_CHANGED))
        if self.altered:
            found.append(TenantDifference(kind=kinds.KEYS_ALTERED, number=len(self.altered), tenants=self.altered))
        if self.keys != self.synced_keys:
            if not self.unfinished:
                found.append(TenantDifference(kind=kinds.INDEX_ALTERED))
        elif self.keys is not None and self.keys > self.synced_rows:
            found.append(TenantDifference(kind=kinds.ORPHANED, number=self.keys - self.synced_rows))
        if self.unreadable:
            found.append(TenantDifference(kind=kinds.UNREADABLE, number=self.unreadable))
        return tuple(found)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The differences, a few words each."""
        return tuple(one.message for one in self.differences)

    @property
    def message(self) -> str:
        """One sentence or two; empty when nothing differs. Only a change has a start time."""
        changes = "; ".join(one.message for one in self.differences if one.changed)
        left = "; ".join(one.message for one in self.differences if not one.changed)
        since = f" since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        parts = [f"Tenant configs in database and Redis differ{since}: {changes}."] if changes else []
        return " ".join([*parts, *([f"Tenant configs as of the last sync: {left}."] if left else [])])

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
