"""Digests of the tenants' rows, which the database computes: rows that are as they were need not be read.

The rows of a table are in buckets, by the hash of their id. A bucket's digest is the number of its rows and the sums
of two hashes of each, so it depends on no order, and can be made of the rows as well, as they come. The hashes are of
an MD5 of all that is read of a row: to find two rows with the same, some 2^64 must be tried.

Such a digest is over secrets, and nothing may keep it as it is: a user who knows all but a password could guess that by
it. Redis has an HMAC of it (`opsdash.services.tenants.kept`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from opsdash.services.database.engine import lacks_table

log = logging.getLogger(__name__)

BUCKETS = 4_096
"""Of 100,000 rows a bucket has 24: so many are read where one was changed."""
_SETTINGS = (
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "extra_float_digits",
    "bytea_output",
    "lc_monetary",
    "search_path",
)
"""What PostgreSQL writes values as text by."""


RowDigest: TypeAlias = tuple[int, int, int]
"""The bucket of one row, and its two hashes. A plain tuple: one is made for each row."""


class BucketDigest(NamedTuple):
    """Of all rows of a bucket."""

    rows: int
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class DigestedRows:
    """The rows of a table in one state of it, by buckets.

    Attributes:
        connection: With a transaction that sees one state of the database.
        columns: What is read of a row, by the name it has here. ``tenant_id``: the column of that.
        context: What a digest depends on beside the rows: types and settings.
        chunk: Rows that are read at a time.
    """

    connection: sa.Connection
    table: sa.TableClause
    columns: Mapping[str, sa.ColumnElement[Any]]
    tenant_id: sa.ColumnElement[Any]
    context: str
    chunk: int

    def digests(self) -> dict[int, BucketDigest] | None:
        """Bucket → its digest; None where that takes too long. Cost: one aggregate, a walk over the table."""
        hashed = self._hashed({}).subquery()
        sums = [sa.cast(sa.func.sum(column), sa.Text) for column in _hashes(hashed)]
        query = sa.select(hashed.c.bucket, sa.func.count(), *sums).group_by(hashed.c.bucket)
        try:
            found = self.connection.execute(query).all()
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            log.warning("all tenants are read at this sync: no digests of them (%s)", error.orig)
            self.connection.rollback()
            return None
        return {bucket: BucketDigest(rows, int(first), int(second)) for bucket, rows, first, second in found}

    def chunks(self, buckets: Collection[int] | None = None) -> Iterator[tuple[list[dict[str, Any]], list[RowDigest]]]:
        """The rows of some buckets, or all, by their id; with what each adds to the digest of its bucket."""
        inner = self._hashed(self.columns).order_by(self.tenant_id)
        if buckets is not None:
            bits = bytearray(BUCKETS // 8)  # a list of some thousand numbers costs a comparison each
            for bucket in buckets:
                bits[bucket // 8] |= 1 << bucket % 8
            asked = sa.literal(bytes(bits), sa.LargeBinary)
            inner = inner.where(sa.func.get_bit(asked, sa.cast(self._bucket(), sa.Integer)) == 1)
        hashed = inner.subquery()
        query = sa.select(*(hashed.c[name] for name in self.columns), hashed.c.bucket, *_hashes(hashed))
        names = list(self.columns)
        number = len(names)
        # The order is that of the inner query: nothing is joined or grouped here.
        for rows in self.connection.execute(query.execution_options(yield_per=self.chunk)).partitions():
            yield (
                [dict(zip(names, row[:number], strict=True)) for row in rows],
                [row[number:] for row in rows],
            )

    def _bucket(self) -> sa.ColumnElement[Any]:
        text = sa.func.coalesce(sa.cast(self.tenant_id, sa.Text), "")
        return sa.func.hashtextextended(text, 0).op("&")(BUCKETS - 1)

    def _hashed(self, columns: Mapping[str, sa.ColumnElement[Any]]) -> sa.Select[Any]:
        whole = sa.func.md5(sa.cast(sa.func.row(*self.table.c), sa.Text))
        named = [column.label(name) for name, column in columns.items()]
        # With an offset PostgreSQL keeps it apart, and each row's MD5 is made once.
        return sa.select(*named, self._bucket().label("bucket"), whole.label("whole")).select_from(self.table).offset(0)


def _hashes(hashed: sa.Subquery) -> list[sa.ColumnElement[Any]]:
    return [sa.func.hashtextextended(hashed.c.whole, seed) for seed in (0, 1)]


def context(connection: sa.Connection, table: sa.TableClause, columns: Mapping[str, str]) -> str | None:
    """What digests of this table depend on beside its rows; None where this database can't make them.

    Cost: one query that reads no row.

    Args:
        columns: Column of ``tenant_config`` → the table's own name for it, empty where the table has none.
    """
    types = [
        sa.cast(sa.func.pg_typeof(sa.select(column).select_from(table).where(sa.false()).scalar_subquery()), sa.Text)
        for column in table.c
    ]
    tried = sa.func.hashtextextended(sa.func.md5(""), 0)  # none before 11, and no MD5 where only FIPS is allowed
    settings = [sa.func.current_setting(name) for name in _SETTINGS]
    try:
        found = connection.execute(sa.select(tried, *types, *settings)).one()
    except DBAPIError as error:
        if error.connection_invalidated or lacks_table(error):
            raise
        log.warning("all tenants are read at each sync: this database makes no digests (%s)", error.orig)
        return None
    return json.dumps([str(table), dict(columns), *map(str, found)])
