"""One pass over the tenants' rows, which leaves out those that are as they were at the last sync."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from opsdash.services.broker.client import Broker
from opsdash.services.queues import lock
from opsdash.services.queues.lock import QueueLock
from opsdash.services.tenants.digests import BucketDigest, DigestedRows
from opsdash.services.tenants.index import Config
from opsdash.services.tenants.kept import KeptBuckets, Keyed, Seen
from opsdash.services.tenants.redaction import id_of, public_config
from opsdash.services.tenants.report import SyncReport
from opsdash.services.tenants.source import TenantSource


class Reading:
    """The configurations that must be compared with what Redis has. The report says how many rows there are.

    Args:
        secret: Key of the fingerprints. ``report``: gets rows, those that can't be used, and those that do not differ.
        lease: Of a sync: each look at Redis renews it.
    """

    def __init__(
        self, source: TenantSource, broker: Broker, secret: bytes, report: SyncReport, lease: QueueLock | None = None
    ) -> None:
        self._source, self._secret, self._report, self._lease = source, secret, report, lease
        self._kept, self._seen = KeptBuckets(broker), Seen()
        self._keyed: Keyed | None = None
        self._numbers = set[int]()

    def chunks(self, *, first: bool = False) -> Iterator[list[Config]]:
        """Some at a time; an empty list after each step that only counted.

        Args:
            first: Redis has no tenant: nothing can be left out.
        """
        with self._source.digested() as table:
            if table is None:
                for rows in self._source.chunks():
                    yield list(filter(None, configs(rows, self._secret, self._report)))
                return
            self._keyed = Keyed(self._secret, table.context)
            yield from self._digested(table, self._keyed, first=first)

    def _digested(self, table: DigestedRows, keyed: Keyed, *, first: bool) -> Iterator[list[Config]]:
        asked = None if first else set[int]()
        if asked is not None:
            # Database and Redis work at the same time.
            with ThreadPoolExecutor(1, thread_name_prefix="opsdash-tenants") as other:
                asking, same = other.submit(table.digests), dict[int, str]()
                for found in self._kept.same(self._lease):
                    same |= found
                    yield []
                while not wait([asking], lock.LEASE_S / 4).done:  # a large table may take longer than the lease lasts
                    if self._lease is not None:
                        self._lease.keep()
                    yield []
                digests = asking.result()
            asked = None if digests is None else self._differing(keyed, digests, same)
            if asked is not None:
                yield []
                if not asked:
                    return
        for rows, digests_of_rows in table.chunks(asked):
            made = configs(rows, self._secret, self._report)
            self._seen.add(digests_of_rows, made)
            yield list(filter(None, made))

    def _differing(self, keyed: Keyed, digests: Mapping[int, BucketDigest], same: Mapping[int, str]) -> set[int] | None:
        """The buckets that are to be read; None: all. The others count as seen."""
        self._numbers = set(digests)
        asked = {number for number, digest in keyed.of(digests).items() if same.get(number) != digest}
        left_out = sum(digests[number].rows for number in self._numbers - asked)
        self._report.rows += left_out
        self._report.unchanged += left_out
        return asked if left_out or not digests else None

    def keep(self, lease: QueueLock) -> None:
        """Keeps in Redis what the next pass can leave out. Only after all of it was read and written."""
        if self._keyed is not None and self._seen.numbers:
            self._kept.store(lease, self._seen.kept(self._keyed))
            self._kept.drop_others(lease, self._numbers or self._seen.numbers)


def configs(rows: Sequence[Mapping[str, Any]], secret: bytes, report: SyncReport) -> list[Config | None]:
    """What should be in Redis of each row; None of those that can't be used, which go to the report."""
    made = list[Config | None]()
    for row in rows:
        tenant_id = id_of(row)
        if tenant_id and tenant_id == report.last_id:  # else each sync would write the other one
            report.fail(tenant_id, "the id comes twice")
            made.append(None)
            continue
        report.last_id = tenant_id
        try:
            made.append(Config(tenant_id, public_config(row, secret)))
        except ValueError as error:
            report.fail(tenant_id, str(error))
            made.append(None)
    report.rows += len(rows)
    return made
