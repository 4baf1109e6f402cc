"""What metrics need beyond a snapshot, read in the poller's thread and seldom."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from opsdash.errors import OpsdashError
from opsdash.model import Snapshot
from opsdash.services.audit import chain_head
from opsdash.services.audit.log import AuditLog
from opsdash.services.database.engine import short_label
from opsdash.services.database.time_limit import TimeLimit

log = logging.getLogger(__name__)

READ_S = 10.0
CHAIN_S = 300.0
CHAIN_ENTRIES = 500
"""Entries that are checked each time: about 10 ms."""
COUNTED = 1_000
"""Finished operations that one read takes; the next read goes on."""


class MetricsReader:
    """Follows the snapshots. Never raises for an outage: the figures then stay as they were.

    Attributes:
        chain_ok: Whether the newest entries are valid; None while not known.
        unkeyed_through: Entries up to this number have no key; None while not known.
        unpushed: Finished entries that their receiver has not taken yet; None without one, or while not known.

    Args:
        behind: Counts those; None: there is no receiver.
    """

    def __init__(
        self, audit: AuditLog, count: Callable[[str, str, float | None], None], behind: Callable[[], int] | None = None
    ) -> None:
        self.chain_ok: bool | None = None
        self.unkeyed_through: int | None = None
        self.unpushed: int | None = None
        self._audit, self._count, self._behind = audit, count, behind
        self._time_limit = TimeLimit(f"The database at {short_label(audit.engine.url)}")
        self._counted: int | None = None  # the number of the last entry that was counted
        self._read_s = self._checked_s = float("-inf")  # monotonic

    def take(self, snapshot: Snapshot) -> None:
        """One step: at most a query every ``READ_S``, a check every ``CHAIN_S``."""
        now = time.monotonic()
        newest = max((entry.seq or 0 for entry in snapshot.operations), default=0)
        due = now - self._read_s >= READ_S
        try:
            if not snapshot.database_error:
                self._time_limit.run(lambda: self._read_log(newest, now, due=due))
        except OpsdashError as error:
            log.info("figures for metrics could not be read: %s", error)
        finally:
            if due:
                self._read_s = now

    def _read_push(self) -> None:
        self.unpushed = None
        if self._behind is not None:
            self.unpushed = self._behind()

    def _read_log(self, newest: int, now: float, *, due: bool) -> None:
        if self._counted is None:
            self._counted = chain_head.head(self._audit.engine)
        elif due or newest > self._counted:
            self._count_operations()
        if now - self._checked_s >= CHAIN_S:
            _, found = chain_head.problems(self._audit.engine, self._audit.signer, CHAIN_ENTRIES)
            self.unkeyed_through = chain_head.unkeyed_through(self._audit.engine, self._audit.signer)
            self.chain_ok, self._checked_s = not found, now
        if due:
            self._read_push()

    def _count_operations(self) -> None:
        own = (None, self._audit.here())  # other brokers on the same database have their own metrics
        for entry in chain_head.finished_after(self._audit.engine, self._counted or 0, COUNTED):
            self._counted = entry.seq
            if entry.broker not in own:
                continue
            took_s = entry.details.get("took_s")
            self._count(entry.operation, entry.status.value, took_s if isinstance(took_s, int | float) else None)
