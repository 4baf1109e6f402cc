"""One consistent read of everything; when a half fails, its last good figures with their age."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsdash.errors import OpsdashError, Unavailable
from opsdash.model import OtherWorker, Snapshot, UnmanagedLook, Unread, WorkerStats
from opsdash.services.audit.approvals import Approvals
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.audit.outbox import Outbox
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.queue_expiry import ExpiryKeeper
from opsdash.services.monitoring.notification_figures import FIELD, LARGE_FIGURES, figures_of
from opsdash.services.monitoring.pace import Paces
from opsdash.services.pause.expiry import PauseExpiry
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.pause.holds import Holds
from opsdash.services.pause.lost_tasks import LeakCheck
from opsdash.services.pause.verdict import Pace
from opsdash.services.queues.discovery import Discovery, consumed_by
from opsdash.services.queues.read import Queues
from opsdash.services.queues.release_held import DueHolds
from opsdash.services.queues.trash import Trash
from opsdash.services.workers.rate_limits import RateLimits
from opsdash.services.workers.reports import HELD, MAX_AGE_S, Workers
from opsdash.services.workers.unmanaged import UnmanagedWorkers

if TYPE_CHECKING:
    from opsdash.services.audit.log import AuditLog
    from opsdash.services.monitoring.brief_reads import BriefReads
    from opsdash.services.monitoring.database_reads import DatabaseReads

CLOCKS_S = 1.0
"""kombu writes times by the workers' clocks, which may be that far off."""


class SnapshotReader:
    """Reads snapshots and remembers the last good half of each side.

    Args:
        database: Makes what reads the database's half. ``brief``: what does so once, for a command.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        pause: PauseFlags,
        queues: Queues,
        workers: Workers,
        unmanaged: UnmanagedWorkers,
        signer: ChainSigner,
        outbox: Outbox | None,
        trash: Trash,
        approvals: Approvals,
        discovery: Discovery,
        paces: Paces,
        find_audit: Callable[[], AuditLog],
        database: Callable[[PauseExpiry], DatabaseReads],
        brief: Callable[[], BriefReads],
    ) -> None:
        self._discovery, self._paces = discovery, paces
        self._holds, self._due_holds, self._rate_limits = Holds(broker), DueHolds(broker), RateLimits(broker)
        self._broker, self._pause, self._queues, self._workers = broker, pause, queues, workers
        self._unmanaged, self._trash, self._approvals = unmanaged, trash, approvals
        self._signer, self._outbox = signer, outbox
        self._pace, self._shrinking = Pace(), LeakCheck()
        self.expiry_keeper = ExpiryKeeper(broker)
        self._pause_expiry = PauseExpiry(find_audit, pause)
        self._make_database, self._make_brief = database, brief
        self._database: DatabaseReads | None = None
        self._lock = threading.Lock()
        self._redis: dict[str, Any] = {}
        self._redis_read_s: float | None = None  # monotonic

    def take(self, *, brief: bool = False) -> Snapshot:
        """A snapshot now. Never raises for an outage, and waits for the database a few tenths of a second at most.

        Args:
            brief: For a command that takes one: the database is read without SQLAlchemy where that is enough.

        Cost: Redis three round trips (two for workers, one MULTI for flags, holds, limits, lengths and unacked), one
        more while something is paused, two while something is held, one while a rate is limited; five more every 10 s,
        for the layout, the bindings and the history. The database's half: see `DatabaseReads`.
        """
        with self._lock:
            redis_error, silent = "", False
            try:
                self._redis = self._read_redis()
                self._redis_read_s = time.monotonic()
            except OpsdashError as error:
                redis_error, silent = error.explanation, error.silent
            database = self._read_database(redis_answers=not redis_error, brief=brief)
            return Snapshot(
                taken_at=datetime.now(UTC),
                redis_age_s=None if self._redis_read_s is None else time.monotonic() - self._redis_read_s,
                redis_error=redis_error,
                spooled=None if redis_error else self._outbox_length(),
                silent=(*(["redis"] if silent else []), *database.pop("silent")),
                **self._redis,
                **database,
            )

    def _read_database(self, *, redis_answers: bool, brief: bool) -> dict[str, Any]:
        if brief and redis_answers and self._database is None and not self._pause_expiry.owes:
            found = self._make_brief().read()
            if found is not None:
                return found
        if self._database is None:
            self._database = self._make_database(self._pause_expiry)
        return self._database.read(redis_answers=redis_answers)

    def _outbox_length(self) -> int | None:
        try:
            return 0 if self._outbox is None else self._outbox.count()
        except Unavailable:
            return None

    def _read_redis(self) -> dict[str, Any]:
        with self._broker.reading():
            conflicts = self._broker.layouts.refresh().conflicts
        reports = self._workers.look()
        workers, unread = reports.workers, list(reports.unread)
        self._paces.follow(reports.times)
        names = self._discovery.names(workers, self._unmanaged.last)
        unread += self._discovery.unread
        started = time.perf_counter()
        with self._broker.reading(), self._broker.client.pipeline(transaction=True) as pipe:
            flags: tuple[str | None, ...] = (None, *names)
            self._pause.ask(pipe, flags)
            self._queues.ask(pipe, names)
            index = self._broker.unacked_index
            bounded_reads.ask_members(pipe, index, most=1, rising=True)
            pipe.zcount(index, "-inf", _oldest_report(workers))
            pipe.hlen(self._broker.unacked)
            self._holds.ask(pipe)
            self._rate_limits.ask(pipe)
            bounded_reads.ask_field(pipe, self._broker.keys.notify, FIELD, LARGE_FIGURES)
            *replies, oldest, old, unacked, holds, rates, figures = pipe.execute(raise_on_error=False)
            unacked = bounded_reads.typed(unacked, None)
        if unacked is None:
            unread.append(Unread(what=HELD, names=(f"{self._broker.unacked} is not a hash",)))
            unacked = 0
        redis_ms = (time.perf_counter() - started) * 1000
        with self._broker.reading():
            read = self._pause.answer(flags, replies[: len(flags) + 3])
            held_now = self._holds.answer(holds)
        queues = self._queues.answer(names, replies[len(flags) + 3 :])
        self.expiry_keeper.look(names, needed=bool(read.active) or read.suspended)
        self._pause_expiry.look(read.active, read.left, read.epoch)
        pauses = read.active
        found = self._unmanaged.found(read.epoch, paused=bool(pauses))
        others, (trash, not_trash), (waiting, not_read) = (
            _others(found, workers),
            self._trash.look(),
            self._approvals.look(),
        )
        held = self._holds.look(workers, others, held_now)
        with self._broker.reading():
            limits = self._rate_limits.answer(rates, held.now_s, workers)
        self._due_holds.settle(one.hold for one in held.holds if one.hold.is_over(held.now_s))
        unread += (*not_trash, *not_read, *held.unread)
        taken = consumed_by(workers, others)
        current = found is not None and (not pauses or (found.counted and found.epoch == read.epoch))
        return {
            "epoch": read.epoch,
            "look": found if current else None,
            "shrinking": self._shrinking.look(pauses, queues, workers, trash, time.monotonic()),
            "pause": pauses.get(None),
            "paused_queues": {name: info for name, info in pauses.items() if name is not None},
            "queues": tuple(
                replace(
                    queue,
                    paused=None in pauses or queue.name in pauses,
                    consumed=taken(queue.name),
                    pace=self._paces.of(queue.name),
                )
                for queue in queues
            ),
            "workers": workers,
            "others": others,
            "layout_conflicts": conflicts,
            "drained_in_s": self._pace.drained_in_s(pauses.get(None), workers, time.monotonic()),
            "unacked": unacked,
            "unacked_old": old if isinstance(old, int) else 0,
            "unacked_oldest_s": _age_of(oldest),
            "trash": trash,
            "approvals": waiting,
            "holds": tuple(one for one in held.holds if one.hold.kind != "limit"),
            "concurrency_limits": tuple(one for one in held.holds if one.hold.kind == "limit"),
            "rate_limits": limits,
            "redis_ms": redis_ms,
            "notifications": figures_of(self._signer, bounded_reads.field_of(figures)),
            "unread": tuple(unread),
        }


def _oldest_report(workers: tuple[WorkerStats, ...]) -> float:
    """When the worker that reports and did so first of all did; what was fetched before is in all their reports."""
    return min((w.heartbeat_at.timestamp() for w in workers if w.reports), default=time.time()) - CLOCKS_S


def _age_of(oldest: Any) -> float | None:
    """Age of the first of a sorted set by time; None where there is none, or another one's value."""
    found = bounded_reads.members(oldest).found if isinstance(oldest, list) else ()
    if not found:
        return None
    age_s = time.time() - found[0][1]
    return max(0.0, age_s) if age_s < MAX_AGE_S else None


def _others(found: UnmanagedLook | None, workers: tuple[WorkerStats, ...]) -> tuple[OtherWorker, ...] | None:
    """Those that do not report. Who has begun to since they were asked was starting then."""
    if found is None or found.error:
        return None
    reporting = {worker.hostname for worker in workers if worker.reports}
    return tuple(other for other in found.others if other.hostname not in reporting)
