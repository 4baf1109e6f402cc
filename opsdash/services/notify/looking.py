"""What a look needs beyond a snapshot: finished audit entries, failures, the hash chain. Read seldom, with limits."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, FailureGroup, Snapshot
from opsdash.services.audit import chain_head
from opsdash.services.audit.log import AuditLog
from opsdash.services.database.engine import short_label
from opsdash.services.database.time_limit import TimeLimit
from opsdash.services.failures.reading import FailedTasks
from opsdash.services.monitoring.failure_figures import FailureFigures
from opsdash.services.notify.observe import Seen

log = logging.getLogger(__name__)

FAILURES_S, CHAIN_S = 10.0, 60.0
CHAIN_ENTRIES = 500
"""Entries that are checked each time: about 10 ms."""
ENTRIES = 200
"""Finished entries that one look takes; the next look goes on."""


class Looking:
    """Reads it. Never raises for an outage: what was not read is not in the look."""

    def __init__(self, audit: AuditLog, failed: FailedTasks) -> None:
        self._audit = audit
        self._failures = FailureFigures(failed)
        self._limit = TimeLimit(f"The database at {short_label(audit.engine.url)}")
        self._failures_s = self._chain_s = float("-inf")  # monotonic

    def look(self, snapshot: Snapshot, number: int | None, now: datetime) -> Seen:
        """One look.

        Args:
            number: Audit entries up to this one were looked at; None: none was.
        """
        entries, upto = self._entries(snapshot, number)
        return Seen(
            now=now,
            snapshot=snapshot,
            entries=entries,
            number=upto,
            failures=self._groups(snapshot),
            chain=self._problems(snapshot),
        )

    def _entries(self, snapshot: Snapshot, number: int | None) -> tuple[tuple[AuditEntry, ...], int | None]:
        newest = snapshot.audit_head.partition(":")[0]
        known = int(newest) if newest.isdigit() else None
        if snapshot.database_error or (number is not None and known == number):
            return (), None
        engine = self._audit.engine
        try:
            if number is None:
                return (), self._limit.run(lambda: chain_head.head(engine))
            if known is not None and known < number:  # the snapshot is older than the last look, or the log is another
                now_at = self._limit.run(lambda: chain_head.head(engine))
                return (), now_at if now_at < number else None  # what is there now is old news, and its numbers too
            found = self._limit.run(lambda: chain_head.finished_after(engine, number, ENTRIES))
        except OpsdashError as error:
            log.info("finished operations are looked at later: %s", error)
            return (), None
        own = (None, self._audit.here())  # other brokers on the same database have their own consoles
        return tuple(one for one in found if one.broker in own), max((one.seq or 0 for one in found), default=None)

    def _groups(self, snapshot: Snapshot) -> tuple[FailureGroup, ...] | None:
        now_s = time.monotonic()
        if snapshot.redis_error or now_s - self._failures_s < FAILURES_S:
            return None
        self._failures_s = now_s
        self._failures.take(snapshot)
        return self._failures.groups if self._failures.known else None

    def _problems(self, snapshot: Snapshot) -> tuple[str, ...] | None:
        now_s = time.monotonic()
        if snapshot.database_error or now_s - self._chain_s < CHAIN_S:
            return None
        self._chain_s = now_s
        audit = self._audit
        try:
            _, found = self._limit.run(lambda: chain_head.problems(audit.engine, audit.signer, CHAIN_ENTRIES))
        except OpsdashError as error:
            log.info("the hash chain is checked later: %s", error)
            return None
        return tuple(found)
