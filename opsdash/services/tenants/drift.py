"""Whether the tenants' database and Redis differ, cheaply enough to be asked every few seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from opsdash.model import TenantDrift
from opsdash.model.untrusted import moment, whole, words
from opsdash.services.tenants.index import TenantIndex
from opsdash.services.tenants.version import Version

NAMED = 5
"""Altered keys that are named. More are not looked for until these are put right."""


class Versioned(Protocol):
    """A source of tenants, as far as it is needed here."""

    def version(self, after: datetime | None = None) -> Version | None:
        """Cheap enough for a page; None where only reading everything could tell."""


def in_use(rows: int | None, drift: TenantDrift | None, *, named: bool) -> bool | None:
    """Whether there are tenants, were some at a sync, or a setting says where they are; None: not known.

    Args:
        rows: Of the source. ``drift``: what a look has found; None where Redis could not be asked.
    """
    if named or rows != 0:
        return True
    return None if drift is None else bool(drift.keys or drift.synced_rows or drift.unfinished)


class DriftWatch:
    """Compares the source's version with what the last sync has left, and at each look a few more keys.

    It remembers how far it has come: with n tenants, n / 200 looks see every key.
    """

    def __init__(self, source: Versioned, index: TenantIndex) -> None:
        self._source, self._index = source, index
        self._cursor = 0
        self._altered: list[str] = []

    def look(self) -> TenantDrift:
        """What differs now.

        Cost: one aggregate in the database; in Redis three round trips and about 200 configurations.

        Raises:
            Unavailable: One of them did not answer.
        """
        stored, keys = self._index.stored()
        synced = _LastSync(stored)
        version = self._source.version(synced.newest)
        self._cursor, altered = self._index.look(self._cursor, self._altered)
        self._altered = altered[:NAMED]
        drift = _compared(version, synced, keys, tuple(self._altered))
        noticed = moment(stored.get("noticed"))
        if drift.changed and noticed is None:
            noticed = datetime.now(UTC)
            self._index.notice(noticed)
        elif not drift.changed and "noticed" in stored:
            self._index.notice(None)
        since = version.since if version is not None and synced.rows is not None else None
        return _compared(version, synced, keys, drift.altered, since or noticed if drift.changed else None)


class _LastSync:
    """The record of the last sync; a foreign value in its place is read as none."""

    def __init__(self, stored: dict[str, str]) -> None:
        self.rows, self.keys = whole(stored.get("rows")), whole(stored.get("keys"))
        self.unreadable = whole(stored.get("unreadable")) or 0
        self.newest, self.at = moment(stored.get("newest")), moment(stored.get("at"))
        self.mark, self.by = words(stored.get("mark")), words(stored.get("by"))
        self.unfinished = "begun" in stored


def _compared(
    version: Version | None, synced: _LastSync, keys: int, altered: tuple[str, ...], since: datetime | None = None
) -> TenantDrift:
    return TenantDrift(
        rows=None if version is None else version.rows,
        newest_at=None if version is None else version.newest,
        mark="" if version is None else version.mark,
        synced_rows=synced.rows,
        synced_newest_at=synced.newest,
        synced_mark=synced.mark,
        synced_at=synced.at,
        synced_by=synced.by,
        unreadable=synced.unreadable,
        unfinished=synced.unfinished,
        keys=keys,
        synced_keys=synced.keys,
        altered=altered,
        since=since,
    )
