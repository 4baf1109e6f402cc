"""The tasks of each tenant: what waits, runs, failed and is held. Read when someone asks, once for all who do.

A task's tenant is in its message, so messages are looked through: all of them where they are few, else a sample.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opsdash.model import Hold
from opsdash.model.tenant_tasks import LookedThrough, TenantsRead, TenantTasks
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.failures.store import FailureStore
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.sampling import sample_lists
from opsdash.services.queues.tenant_filter import tenant_of
from opsdash.services.workers import running_tenants
from opsdash.services.workers.reports import Workers

MOST_TENANTS = 200
"""That one read names: those that are held, then those with most tasks."""
FAILED_LOOKED_AT = 2_000
"""Up to so many failed tasks each is looked at; of more, so many at random."""
FAILED_STEP = 100
"""Failed tasks whose messages are read at once: a millisecond of Redis."""
LOOK_S = 2.0
"""After so long no further failed task is looked at."""
CONFIDENT = 2.0
"""Standard errors on either side of a share of failed tasks: 95 % confidence."""
UNSEEN = 3.0
"""As in `opsdash.services.queues.sampling`."""


@dataclass(slots=True)
class _Found:
    """Tenant → tasks, and by how much each number may be off; the empty name for those that name no tenant."""

    numbers: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    through: LookedThrough = field(default_factory=LookedThrough)


class TenantLook:
    """Looks through the tasks, and remembers what it has found for those who ask a moment later.

    Args:
        queue_names: Every queue that is known now.
        key: Header, else keyword argument, that names the tenant.
    """

    def __init__(
        self, broker: Broker, workers: Workers, failed: FailureStore, queue_names: Callable[[], Sequence[str]], key: str
    ) -> None:
        self._broker, self._workers, self._failed = broker, workers, failed
        self._queue_names, self._key = queue_names, key
        self._lock = threading.Lock()
        self._last = TenantsRead(key=key)
        self._last_s = float("-inf")  # monotonic

    def read(self, max_age_s: float = 0.0) -> TenantsRead:
        """The tasks of each tenant, read now, or at most so long ago, for whomever: one read at a time.

        Cost: of Redis some 2 ms for each of a few dozen steps at most; in this process up to half a second, for 10,000
        waiting tasks and 2,000 failed ones.

        Raises:
            Unavailable: Redis did not answer.
        """
        asked_s = time.monotonic()
        with self._lock:
            if self._last_s < asked_s - max_age_s:
                began_s = time.monotonic()
                self._last, self._last_s = self._read(began_s), began_s
            return self._last

    def latest(self, max_age_s: float) -> TenantsRead | None:
        """What was read last, if that is at most so long ago; reads nothing and waits for nobody."""
        return self._last if self._last_s >= time.monotonic() - max_age_s else None

    def _read(self, began_s: float) -> TenantsRead:
        broker = self._broker
        lists = [key for queue in self._queue_names() for key in broker.lists(queue).values()]
        waiting = self._sampled(lists)
        holds = {one.name: one for one in Holds(broker).read().holds if one.kind == "tenant" and one.key == self._key}
        held = self._held(holds)
        running = running_tenants.read(broker, self._workers.read(), self._key)
        failed = self._of_failed(began_s + LOOK_S)
        names = {*waiting.numbers, *held.numbers, *running.by_tenant, *failed.numbers, *holds} - {""}

        def row(tenant: str, synced: bool | None = None) -> TenantTasks:
            return TenantTasks(
                tenant=tenant,
                waiting=waiting.numbers.get(tenant, 0),
                waiting_error=waiting.errors.get(tenant, 0),
                running=running.by_tenant[tenant] if tenant else running.none,
                failed=failed.numbers.get(tenant, 0),
                failed_error=failed.errors.get(tenant, 0),
                held=held.numbers.get(tenant, 0),
                held_error=held.errors.get(tenant, 0),
                hold=holds.get(tenant),
                synced=synced,
            )

        rows = sorted(map(row, names), key=lambda one: (one.hold is None, -one.total, one.tenant))[:MOST_TENANTS]
        synced = self._synced([one.tenant for one in rows])
        return TenantsRead(
            tenants=tuple(row(one.tenant, synced.get(one.tenant)) for one in rows),
            left_out=len(names) - len(rows),
            others=row(""),
            key=self._key,
            waiting=waiting.through,
            failed=failed.through,
            held=held.through,
            running_unknown=running.unknown,
            read_at=datetime.now(UTC),
            took_s=round(time.monotonic() - began_s, 3),
        )

    def _sampled(self, lists: Sequence[str]) -> _Found:
        found = sample_lists(self._broker, lists, self._tenant_of)
        # A tenant that all messages of a sample are of may still not be that of all.
        return _Found(found.by_task, found.error, LookedThrough(tasks=found.number, looked_at=found.looked_at))

    def _tenant_of(self, raw: bytes) -> str:
        return tenant_of(raw, self._key)

    def _held(self, own: Mapping[str, Hold]) -> _Found:
        """By the holds of tenants, whose lists need no look into a message, and by those of tasks' names."""
        holds = Holds(self._broker)
        ids, names = {hold.id: hold.name for hold in own.values()}, [hold.id for hold in holds.read().holds]
        lists = [one for one in holds.lists(names) if not one.released] if names else []
        counts, others = Counter[str](), list[str]()
        for one, length in zip(lists, holds.lengths(lists), strict=True):
            if one.hold in ids:
                counts[ids[one.hold]] += length
            else:
                others.append(self._broker.keys.held(one.hold, one.step, one.queue))
        found = self._sampled(others) if others else _Found()
        known = counts.total()
        through = LookedThrough(tasks=found.through.tasks + known, looked_at=found.through.looked_at + known)
        return _Found(counts + Counter(found.numbers), found.errors, through)

    def _of_failed(self, until_s: float) -> _Found:
        """By the messages that are kept with them; one without a message is of nobody."""
        ids = self._failed.ids()
        chosen = ids if len(ids) <= FAILED_LOOKED_AT else random.sample(ids, FAILED_LOOKED_AT)
        counts, looked_at = Counter[str](), 0
        for start in range(0, len(chosen), FAILED_STEP):
            if time.monotonic() > until_s:
                break
            step = chosen[start : start + FAILED_STEP]
            looked_at += len(step)
            counts.update(self._tenant_of(one.message) for one in self._failed.messages(step))
        total = len(ids)
        if looked_at >= total:
            return _Found(counts, {}, LookedThrough(tasks=total, looked_at=total))
        shares = {tenant: number / max(1, looked_at) for tenant, number in counts.items()}
        return _Found(
            {tenant: round(share * total) for tenant, share in shares.items()},
            {tenant: _error(share, looked_at, total) for tenant, share in shares.items()},
            LookedThrough(tasks=total, looked_at=looked_at),
        )

    def _synced(self, tenants: Iterable[str]) -> dict[str, bool]:
        """Which of them have a configuration in Redis; nothing where no tenant has one. Cost: one round trip."""
        names = list(tenants)
        with self._broker.reading():
            if not names or not bounded_reads.one(self._broker.client, 0, "HLEN", self._broker.keys.tenants):
                return {}
            (known,) = bounded_reads.fields(self._broker.client, [self._broker.keys.tenants], names)
        return {name: name in known for name in names}


def _error(share: float, looked_at: int, total: int) -> int:
    """Of a share of tasks that were chosen one by one."""
    spread = math.sqrt(share * (1 - share) / looked_at)
    return math.ceil(max(CONFIDENT * spread, UNSEEN / looked_at) * total)
