"""Tenant configurations: from the database's rows to ``tenant_config:{tenant_id}`` in Redis, without secrets."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import redis

from opsdash.errors import Refused, Unavailable, Uncertain, explained, sentences
from opsdash.model import TenantDrift
from opsdash.services import dataframes
from opsdash.services.broker import writes
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import QueueLock
from opsdash.services.tenants import drift as tenant_drift
from opsdash.services.tenants.drift import DriftWatch
from opsdash.services.tenants.index import CHUNK, TenantIndex, in_steps
from opsdash.services.tenants.reading import Reading
from opsdash.services.tenants.reading import configs as configs_of
from opsdash.services.tenants.redaction import changes, instant, public_config
from opsdash.services.tenants.report import NAMED, SyncReport
from opsdash.services.tenants.source import TenantSource
from opsdash.services.tenants.version import Version
from opsdash.text import count

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SyncReport", "TenantPlan", "Tenants", "public_config"]

COMPARED = 20
"""Changed tenants that a plan tells field by field."""


@dataclass(slots=True)
class TenantPlan:
    """What a sync would do now.

    Attributes:
        changes: Tenant → its changed fields, for at most `COMPARED` of the changed ones.
        orphaned: Tenants with a key and no row. ``known``: tenants with a key.
        seen: What was read on the way; its ``failed`` are the rows that can't be written.
    """

    added: int = 0
    changed: int = 0
    changes: dict[str, list[str]] = field(default_factory=dict)
    orphaned: list[str] = field(default_factory=list)
    known: int = 0
    seen: SyncReport = field(default_factory=SyncReport)


@dataclass(frozen=True, slots=True)
class Tenants:
    """Reads the tenants' source and writes its public part to Redis.

    Attributes:
        secret: Gives the key for fingerprints; asked when a sync begins, so that reading needs none.
    """

    source: TenantSource
    broker: Broker
    secret: Callable[[], bytes]
    index: TenantIndex = field(init=False)
    _watch: DriftWatch = field(init=False)

    def __post_init__(self) -> None:
        """The side in Redis, and what watches both."""
        object.__setattr__(self, "index", TenantIndex(self.broker))
        object.__setattr__(self, "_watch", DriftWatch(self.source, self.index))

    def count(self) -> int | None:
        """Rows in the database; None where only reading them all could tell."""
        version = self.source.version()
        return None if version is None else version.rows

    def in_use(self, rows: int | None, drift: TenantDrift | None) -> bool | None:
        """Whether there are tenants, were some at a sync, or a setting says where they are; None: not known.

        Args:
            rows: What `count` has said. ``drift``: what `drift` has said; None where Redis could not be asked.
        """
        return tenant_drift.in_use(rows, drift, named=self.source.named)

    def drift(self) -> TenantDrift:
        """Whether database and Redis differ, as far as a poller can know; see `DriftWatch`.

        Raises:
            Unavailable: One of them did not answer.
        """
        return self._watch.look()

    def plan(self) -> TenantPlan:
        """What a sync would do; changes nothing. Cost: as a sync without its writes, and the orphans.

        Raises:
            Unavailable: The database or Redis did not answer.
        """
        plan, secret = TenantPlan(), self.secret()
        with self.broker.reading():
            number, indexed = self.index.number(), 0
            for configs in Reading(self.source, self.broker, secret, plan.seen).chunks():
                for part in in_steps(configs):
                    for config, held in zip(part, self.index.compared(part), strict=True):
                        indexed += bool(held.note)
                        if held.text is None:
                            plan.added += 1
                        elif held.text != config.text:
                            plan.changed += 1
                            if len(plan.changes) < COMPARED:
                                plan.changes[config.tenant_id] = changes(held.text, config.text)
            # The index has as many entries as rows that have one: there is no other one.
            if number is not None and number == plan.seen.unchanged + indexed:
                plan.known = number
            else:
                plan.orphaned, plan.known = self.orphans()
        plan.seen.unchanged = plan.seen.rows - plan.seen.unreadable - plan.added - plan.changed
        return plan

    def to_frame(self) -> pd.DataFrame:
        """Every tenant as a typed pandas frame: how row and key compare, and its configuration, without secrets.

        Changes nothing. Warns where more rows are unreadable than are named. Cost: as ``plan``; memory: that of the
        frame.

        Raises:
            Unavailable: The database or Redis did not answer.
        """
        seen = SyncReport()
        with self.broker.reading():
            found = dataframes.of_tenants(self._compared(seen))
        if seen.unreadable > len(seen.failed):
            said = f"The frame names {len(seen.failed):,} of {seen.unreadable:,} unreadable rows."
            warnings.warn(said, stacklevel=2)
        return found

    def _compared(self, seen: SyncReport) -> Iterator[dict[str, Any]]:
        secret = self.secret()
        for rows in self.source.chunks():
            for part in in_steps(list(filter(None, configs_of(rows, secret, seen)))):
                held = {config.tenant_id: text for config, text in self.index.differing(part)}
                for config in part:
                    public = json.loads(config.text)
                    state = "missing" if held.get(config.tenant_id, "") is None else "changed"
                    yield {
                        **public,
                        "state": state if config.tenant_id in held else "synced",
                        "name": None if public["name"] is None else str(public["name"]),
                        "updated_at": instant(public["updated_at"]),
                        "settings": json.dumps(public["settings"], ensure_ascii=False),
                    }
        yield from ({"tenant_id": one, "state": "unreadable", "problem": why} for one, why in seen.failed.items())
        yield from ({"tenant_id": one, "state": "orphaned"} for one in self.orphans()[0])

    def orphans(self) -> tuple[list[str], int]:
        """Tenants with a key and without a row, and how many have a key at all.

        The keys are read before the rows, so a tenant that is made meanwhile is none.
        Memory: the names of the tenants. Cost: the index, and the ids of all rows.
        """
        orphaned = {tenant for tenants in self.index.known() for tenant in tenants}
        known = len(orphaned)
        orphaned.difference_update(self.source.ids())
        return sorted(orphaned), known

    def sync(
        self,
        *,
        by: str = "",
        remove: Callable[[int, int], None] | None = None,
        on_progress: Callable[[int, int], None] = lambda _at, _of: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> SyncReport:
        """Writes every row's public configuration to its key where it differs; a bad row fails alone and is named.

        Args:
            by: Who syncs, for the message to a second user.
            remove: If given, orphans are removed; called with their number and that of all keys; its error ends
                the sync before anything was changed.
            on_progress: Called with the rows done and the rows in total.
            cancelled: Asked between two steps; each tenant is then old or new.

        Raises:
            Refused: Another sync is under way, or ``remove`` says so; nothing was changed.
            Unavailable: The database did not answer; nothing was written.
            Uncertain: A connection was lost midway; every key is either old or new.
        """
        report, secret = SyncReport(), self.secret()
        with self.index.lock(by=by or "somebody") as lock:
            try:
                # Before the rows are read: a change meanwhile is then always reported as a difference.
                version = self.source.version()
                reading = Reading(self.source, self.broker, secret, report, lock)
                self._sync(report, reading, lock, version, remove, on_progress, cancelled)
                if not report.cancelled:
                    self._finish(report, lock, by, version)
                    reading.keep(lock)
            except (Unavailable, Refused, redis.RedisError) as error:
                nothing = not isinstance(error, redis.RedisError) or not writes.possible()
                if not report.written and not report.removed and nothing:
                    raise
                raise Uncertain(
                    sentences(
                        f"The sync stopped after {count(report.written, 'tenant')}: {explained(error)}",
                        "The others keep their old configuration.",
                    ),
                    hint="It can be run again.",
                    retry=True,
                ) from error
        return report

    def _sync(
        self,
        report: SyncReport,
        reading: Reading,
        lock: QueueLock,
        version: Version | None,
        remove: Callable[[int, int], None] | None,
        on_progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        rows_in_all = version.rows if version else 0
        self.index.adopt(lock)
        first = self.index.is_empty()  # then nothing has to be compared
        # Before the rows: a tenant that comes back meanwhile is written again by what follows.
        for orphans in self._to_remove(remove) if remove else ():
            if cancelled():
                report.cancelled = True
                return
            if not report.removed:
                self.index.begin(lock)
            report.removed += self.index.remove(lock, orphans)
        told = 0
        for configs in reading.chunks(first=first):
            if cancelled():
                report.cancelled = True
                return
            for part in in_steps(configs):
                differing = part if first else [config for config, _held in self.index.differing(part, lock)]
                if differing:
                    if not report.written and not report.removed:
                        self.index.begin(lock)
                    for written in self.index.write_in_steps(lock, differing):
                        report.written += written
                report.unchanged += len(part) - len(differing)
                report.first_written += [config.tenant_id for config in differing][: NAMED - len(report.first_written)]
            if report.rows > told:
                told = report.rows
                on_progress(told, max(told, rows_in_all))

    def _to_remove(self, remove: Callable[[int, int], None]) -> Iterator[list[str]]:
        orphaned, known = self.orphans()
        remove(len(orphaned), known)
        for start in range(0, len(orphaned), CHUNK):
            yield orphaned[start : start + CHUNK]

    def _finish(self, report: SyncReport, lock: QueueLock, by: str, version: Version | None) -> None:
        read = version or Version(report.rows)
        self.index.finish(
            lock,
            {
                "rows": read.rows,
                "newest": read.newest.isoformat() if read.newest else "",
                "mark": read.mark,
                "unreadable": report.unreadable,
                "at": datetime.now(UTC).isoformat(),
                "by": by,
            },
        )
