"""What the page shows of a snapshot: made once per role in the poller's thread, and shared by every page and widget."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import param
from param.parameterized import batch_call_watchers

from opsdash.errors import OpsdashError
from opsdash.model import FailureOverview, HistoryPoint, Role, Snapshot
from opsdash.operation import Operation
from opsdash.operations import ApproveOperation, RestoreQueue
from opsdash.state import SystemStatus
from opsdash.state.changes import set_changed
from opsdash.state.status import STALE_AFTER_S
from opsdash.views import failure_rows, hero, limit_rows, rows, strip, worker_rows
from opsdash.views.components.shared import Figures, Rows, SharedFigures, SharedRows
from opsdash.views.components.sparkline import sparkline

if TYPE_CHECKING:
    from opsdash.services.console import Console

log = logging.getLogger(__name__)

CLOCK_S = 10.0
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
HISTORY_EVERY_S = 10.0
"""The history gets a point so often: reading it more often tells nothing new."""


class PageStatus(SystemStatus):
    """``SystemStatus``, and what cards show of it: rows, figures and words. Every view binds to these."""

    queue_rows = SharedRows(default=Rows(), doc="One row per queue, as the table takes it.")
    worker_rows = SharedRows(default=Rows(), doc="One row per worker, what needs a look first.")
    operation_rows = SharedRows(default=Rows(), doc="The newest entries of the audit log.")
    trash_rows = SharedRows(default=Rows(), doc="Clears that can be undone, newest first.")
    hold_rows = SharedRows(default=Rows(), doc="One row per hold, the oldest first.")
    concurrency_limit_rows = SharedRows(default=Rows(), doc="One row per concurrency limit, the oldest first.")
    rate_limit_rows = SharedRows(default=Rows(), doc="One row per rate limit, by task.")
    failure_rows = SharedRows(default=Rows(), doc="One row per group of failed tasks, the one that came last first.")
    approval_rows = SharedRows(default=Rows(), doc="Acts that wait for a second person.")
    figures = SharedFigures(default=Figures(), doc="Figure -> [number, unit] as text; what is not known is not there.")
    sparks = SharedFigures(default=Figures(), doc="Figure -> its small line; None: too few values.")
    hero = SharedFigures(default=Figures(), doc="Parameters of the status strip.")
    tenants_card = SharedFigures(default=Figures(), doc="What the card of tenants says.")
    failures_card = SharedFigures(default=Figures(), doc="How many failed tasks are kept, and what to say of it.")
    read_at = param.Number(default=0, doc="When Redis was read, in seconds; 0: not yet.")

    def take(self, reading: Reading) -> None:
        """Takes over one reading as a whole: watchers run once, on a consistent state."""
        with batch_call_watchers(self), self._open():
            self.update(reading.snapshot)
            set_changed(self, **reading.shown)

    def tick(self, now: datetime | None = None, old_s: float = STALE_AFTER_S) -> None:
        """As ``SystemStatus`` has it. The strip's words are a reading's; where none comes, they are made here."""
        with batch_call_watchers(self), self._open():
            before = self.stalled_s
            super().tick(now, old_s)
            if self.stalled_s != before:
                self.hero = Figures(hero.words(self))


@dataclass(frozen=True, slots=True)
class Reading:
    """A snapshot, and the parameters of ``PageStatus`` that are made from it for one role.

    What has not changed since the last reading is the same object, so that it is compared by identity.
    """

    snapshot: Snapshot
    shown: Mapping[str, Any]


class Readings:
    """Makes them, for one console."""

    def __init__(self, console: Console) -> None:
        self._history, self._broker = console.history, console.broker
        self._lock = threading.Lock()
        self._status = SystemStatus()
        self._recent: tuple[HistoryPoint, ...] = ()
        self._recent_read_s = -HISTORY_EVERY_S
        self._failed, self._failures = console.failed, FailureOverview()
        self._failures_version: tuple[Any, ...] = ()
        self._last: dict[Role, Reading] = {}

    def latest(self, role: Role) -> Reading | None:
        """The last one for this role, if there was any; reads nothing."""
        return self._last.get(role)

    def of(self, snapshot: Snapshot, role: Role) -> Reading:
        """The reading of a snapshot. Never on an event loop: every ten seconds it reads the history from Redis."""
        with self._lock:
            last = self._last.get(role)
            if last is not None and _no_news(last.snapshot, snapshot):
                return last
            if self._status.updated_at != snapshot.taken_at:
                self._status.update(snapshot)
            self._read_history(snapshot)
            self._read_failures(snapshot)
            before = last.shown if last else {}
            here = self._broker.identity
            made = Reading(snapshot, shown(self._status, self._recent, role, before, here, self._failures))
            self._last[role] = made
            return made

    def _read_history(self, snapshot: Snapshot) -> None:
        now_s = time.monotonic()
        if snapshot.redis_error or now_s - self._recent_read_s < HISTORY_EVERY_S:
            return
        try:
            self._recent = self._history.read(strip.RECENT_S)
        except OpsdashError as error:
            log.warning("the history can't be read: %s", error)  # the lines stay as they were, and end where they end
        self._recent_read_s = now_s

    def _read_failures(self, snapshot: Snapshot) -> None:
        """One round trip; where something has failed, or was sent again, some 20 ms for 1,000 groups."""
        if snapshot.redis_error:
            return
        try:
            version = self._failed.version()
            if version != self._failures_version:
                self._failures, self._failures_version = self._failed.overview(), version
        except OpsdashError as error:
            log.warning("failed tasks can't be read: %s", error)  # what is shown stays


def shown(
    status: SystemStatus,
    recent: tuple[HistoryPoint, ...],
    role: Role,
    before: Mapping[str, Any] | None = None,
    here: str = "",
    failures: FailureOverview | None = None,
) -> dict[str, Any]:
    """The parameters of ``PageStatus`` for a user of this role.

    Args:
        before: The last ones. ``here``: what the audit log calls this console's broker. ``failures``: as read last.
    """

    def may(operation: type[Operation]) -> bool:
        return role >= operation.minimum_role

    before, failures = before or {}, failures or FailureOverview()
    read_at = status.redis_read_at
    tables = {
        "queue_rows": rows.queue_rows(status.queues, status, recent, may, _by_key(before, "queue_rows")),
        "worker_rows": _by_rank(
            worker_rows.worker_rows(
                status.workers,
                status.others or (),
                may=may,
                paused=status.paused,
                now=read_at,
                before=_by_key(before, "worker_rows"),
            )
        ),
        "failure_rows": failure_rows.group_rows(
            failures.groups, may=may, now=(read_at or LONG_AGO).replace(second=0, microsecond=0)
        ),
        "trash_rows": rows.trash_rows(status.trash, may=may(RestoreQueue)),
        "hold_rows": rows.hold_rows(status.holds, may=may),
        "concurrency_limit_rows": limit_rows.concurrency_limit_rows(status.concurrency_limits, may=may),
        "rate_limit_rows": limit_rows.rate_limit_rows(status.rate_limits, may=may),
        "approval_rows": rows.approval_rows(status.approvals, may=may(ApproveOperation)),
        "operation_rows": rows.operation_rows(
            status.operations, rows.undos(status.operations, status.snapshot, may), here
        ),
    }
    words = {
        "figures": strip.as_words(strip.figures(status, recent)),
        "sparks": {name: sparkline(points) for name, points in strip.sparks(recent).items()},
        "hero": hero.words(status),
        "failures_card": failure_rows.card(failures),
        "tenants_card": rows.tenants_card(status),
    }
    return {
        **{name: _same_rows(before.get(name), table) for name, table in tables.items()},
        **{name: _same(before.get(name), Figures(told)) for name, told in words.items()},
        "read_at": int(read_at.timestamp()) if read_at is not None else 0,
    }


def _by_rank(table: dict[str, rows.Row]) -> dict[str, rows.Row]:
    return dict(sorted(table.items(), key=lambda item: (item[1]["rank"], item[0])))


def _by_key(before: Mapping[str, Any], name: str) -> dict[str, rows.Row]:
    return {row["key"]: row for row in before.get(name, ())}


def _same(before: Figures | None, now: Figures) -> Figures:
    return before if before is not None and before == now else now


def _same_rows(before: Rows | None, table: Mapping[str, rows.Row]) -> Rows:
    """Rows, and the whole, that have not changed are those from before."""
    had, now = {row["key"]: row for row in before or ()}, []
    for key, fields in table.items():
        row = {**fields, "key": key}
        now.append(had[key] if had.get(key) == row else row)
    if before is not None and len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True)):
        return before
    return Rows(now)


def _no_news(known: Snapshot, snapshot: Snapshot) -> bool:
    """It is the same, or a newer one overtook it; by more than ten seconds, the clock was set back."""
    ahead_s = (known.taken_at - snapshot.taken_at).total_seconds()
    return known is snapshot or 0 < ahead_s < CLOCK_S


_readings: WeakKeyDictionary[Console, Readings] = WeakKeyDictionary()
_making = threading.Lock()


def readings(console: Console) -> Readings:
    """The one maker of a console."""
    with _making:
        if console not in _readings:
            _readings[console] = Readings(console)
        return _readings[console]
