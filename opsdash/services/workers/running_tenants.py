"""Whose tasks the workers run, as they have reported: a task that runs is acknowledged, and then no more in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opsdash.model import WorkerStats, untrusted
from opsdash.model.hold import LONGEST_NAME
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker

FIELD = "running_tenants"
LARGE_REPORT = 16 * 1024
"""Bytes of a report that is looked into: a worker sends half as many at most."""


@dataclass(slots=True, kw_only=True)
class RunningTenants:
    """What workers run.

    Attributes:
        by_tenant: Tenant → tasks. ``unknown``: tasks whose workers don't say. ``none``: tasks that name no tenant.
    """

    by_tenant: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    none: int = 0


def read(broker: Broker, workers: Iterable[WorkerStats], key: str) -> RunningTenants:
    """Of the workers that report. Cost: one round trip, one script for a hundred workers.

    Args:
        key: Header or keyword argument; a worker that goes by another one does not say.

    Raises:
        Unavailable: Redis did not answer.
    """
    reporting = [worker for worker in workers if worker.reports and worker.active]
    with broker.reading():
        keys = [broker.keys.worker(worker.record or worker.hostname) for worker in reporting]
        reports = bounded_reads.fields(broker.client, keys, [FIELD], LARGE_REPORT)
    found = RunningTenants()
    for worker, report in zip(reporting, reports, strict=True):
        looked_at, counts = _parsed(report.get(FIELD), key)
        found.by_tenant.update(counts)
        found.none += max(0, looked_at - sum(counts.values()))
        found.unknown += max(0, worker.active - looked_at)
    return found


def _parsed(text: Any, key: str) -> tuple[int, dict[str, int]]:
    value = untrusted.parsed(text, LARGE_REPORT)
    if not isinstance(value, list) or len(value) != 3 or value[0] != key:
        return 0, {}
    pairs = ((tenant, untrusted.whole(number)) for tenant, number in untrusted.mapping(value[2]).items())
    counts = {tenant: number for tenant, number in pairs if number and 0 < len(tenant) <= LONGEST_NAME}
    return untrusted.whole(value[1]) or 0, counts
