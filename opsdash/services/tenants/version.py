"""What a source of tenants can tell without reading its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from opsdash.config.parsers import TENANT_COLUMNS
from opsdash.services.tenants.redaction import instant

if TYPE_CHECKING:
    from opsdash.config.settings import Settings
    from opsdash.services.database.plain import Plain

OWN_TABLE = "tenant_config"
"""Opsdash's own, where no setting names another one."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a source can tell without reading its rows.

    Attributes:
        rows: The number of rows.
        newest: The latest change among them, in UTC; None: unknown.
        since: The first change after the asked time, in UTC; None: none, or unknown.
        mark: The sum of all their times of change: it differs when any of them differs. Empty: unknown.
    """

    rows: int
    newest: datetime | None = None
    since: datetime | None = None
    mark: str = ""


def is_named(settings: Settings) -> bool:
    """A setting says which table the tenants are in."""
    return settings.tenant_table != OWN_TABLE or bool(settings.tenant_columns)


def columns(settings: Settings) -> dict[str, str]:
    """Column of ``tenant_config`` → the table's own name for it, empty where the table has none."""
    return {**{name: name for name in TENANT_COLUMNS}, **dict(settings.tenant_columns)}


@dataclass(frozen=True, slots=True)
class PlainTable:
    """The table of the settings, read by the driver: as `TableSource.version`, which is used where this fails."""

    database: Plain
    settings: Settings

    def version(self, after: datetime | None = None) -> Version:
        """One aggregate, a walk over the table."""
        schema, _, name = self.settings.tenant_table.rpartition(".")
        table = f'"{schema}"."{name}"' if schema else f'"{name}"'
        if not (column := columns(self.settings)["updated_at"]):
            ((rows,),) = self.database.rows(f"SELECT count(*) FROM {table}")  # noqa: S608 - names that the settings check
            return Version(rows)
        at = f'"{column}"'
        later, values = (at, []) if after is None else (f"CASE WHEN {at} > ? THEN {at} END", [after])
        mark = (
            f"sum(CAST(julianday({at}) * 86400000 AS BIGINT))"
            if self.database.is_sqlite
            else f"sum(extract(epoch FROM {at}))"
        )
        query = f"SELECT count(*), max({at}), min({later}), {mark} FROM {table}"  # noqa: S608 - as above
        ((rows, newest, since, marked),) = self.database.rows(query, values)
        return Version(rows, instant(newest), instant(since), "" if marked is None else str(marked))
