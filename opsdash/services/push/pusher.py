"""Pushes finished entries in the order of their numbers, from where the last push ended: at least once, without gaps.

The position is in Redis, with a keyed digest. Where it is lost, all entries are pushed again: a receiver knows them by
their numbers. So are they where the log no longer has the entry that was pushed last as it was.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import redis

from opsdash.config.settings import Settings
from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, untrusted
from opsdash.services.audit import chain_head
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.lease import Lease
from opsdash.services.monitoring.notification_figures import closed, opened
from opsdash.services.notify.outbox import TargetState, after_failure
from opsdash.services.notify.webhook import NotTaken
from opsdash.services.push.receivers import Receiver, receiver
from opsdash.values import frozen

log = logging.getLogger(__name__)

EVERY_S = 2.0
"""Between two looks at the log; one that finds a whole batch goes on at once."""
BATCH = 200
"""Entries that are pushed at once."""
KEPT_MS = 365 * 86_400 * 1_000
LARGE = 2_000


@frozen(kw_only=True)
class PushPosition:
    """How far entries were pushed.

    Attributes:
        number: Of the last one that was taken; 0: none was. ``at``: when, in UTC. ``seal``: its HMAC.
        problem: Why the last attempt failed; empty: it did not.
    """

    number: int = 0
    seal: str = ""
    at: datetime | None = None
    problem: str = ""


class Pusher:
    """Runs in its own thread; of several consoles the one with the lease pushes."""

    def __init__(self, settings: Settings, *, broker: Broker, audit: AuditLog) -> None:
        self._receiver = receiver(settings)
        self._broker, self._audit = broker, audit
        self._lease = Lease(broker, lambda: broker.keys.audit_push_lease)
        # Another receiver begins at its own position. Its address is a secret, so only a digest of it is kept.
        self._target = f"push to:{settings.audit_push}"
        self._state = TargetState()
        self._position: PushPosition | None = None
        self._loaded = 0
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def start(self) -> None:
        """Begins, if there is a receiver."""
        if self._receiver is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="opsdash-audit-push", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends it, after the batch that is on its way; gives the lease back."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(EVERY_S)
            self._lease.release()

    def _run(self) -> None:
        while not self._end.is_set():
            more = False
            try:
                more = self.push()
            except OpsdashError as error:
                log.info("audit entries are pushed later: %s", error.explanation)
            except Exception:  # a bug, or an odd receiver: the thread stays, and tries again
                log.exception("pushing audit entries failed")
            if not more:
                self._end.wait(EVERY_S)

    def push(self) -> bool:
        """One batch; whether there may be more. Cost: two round trips, and a range of ``ix_audit_log_seq``.

        Raises:
            Unavailable: Redis or the database did not answer.
        """
        target = self._receiver
        if target is None:
            return False
        with self._broker.reading():
            self._broker.layouts.refresh()  # the key prefix may be known from workers alone
        if not self._lease.hold():
            return False
        if self._position is None or self._loaded != self._lease.taken:
            self._position = self.position()
            self._loaded = self._lease.taken
        if time.monotonic() < self._state.next_s:
            return False
        entries = self._entries(self._position)
        if not entries:
            return False
        try:
            target.take(entries)
        except NotTaken as error:
            self._failed(target, str(error))
            return False
        self._state = TargetState()
        self._taken(entries[-1])
        return len(entries) == BATCH

    def _entries(self, position: PushPosition) -> tuple[AuditEntry, ...]:
        """Those that are next."""
        number = position.number
        found = chain_head.finished_after(self._audit.engine, max(0, number - 1), BATCH + 1)
        next_ones = tuple(one for one in found if (one.seq or 0) > number)[:BATCH]
        if not number:
            return next_ones
        last = found[0] if found and found[0].seq == number else None
        if last is None:
            kept = bool(next_ones) or int(self._audit.head().partition(":")[0] or 0) >= number  # it was pruned
        else:
            kept = position.seal in {"", last.seal}
        if kept:
            return next_ones
        what = "is another one now" if last else "is not there, nor any after it"
        log.error(
            "entry %d of the audit log, which was pushed, %s: the log was changed, or restored from a backup; all"
            " entries are pushed again",
            number,
            what,
        )
        self._save(PushPosition())
        return chain_head.finished_after(self._audit.engine, 0, BATCH)

    def _taken(self, last: AuditEntry) -> None:
        position = PushPosition(number=last.seq or 0, seal=last.seal or "", at=datetime.now(UTC))
        self._position = position
        held = self._lease.hold()
        if not held or self._loaded != self._lease.taken:
            # It took so long that another console has the lease, or had it. Written down anyway: else two
            # consoles would push the same for ever to a receiver that is slower than a lease.
            found = self.position()
            self._loaded = self._lease.taken if held else 0
            if found.number >= position.number:
                self._position = found
                return
        self._save(position)

    def position(self) -> PushPosition:
        """How far they were pushed; by what is in Redis. Cost: one GETRANGE.

        Raises:
            Unavailable: Redis did not answer.
        """
        with self._broker.reading():
            text = bounded_reads.text(self._broker.client, self._broker.keys.audit_push, LARGE)
        raw: Any = opened(self._audit.signer, text)
        if not self._audit.signer.is_mac(self._target, str(raw.get("target"))):
            return PushPosition()
        return PushPosition(
            number=untrusted.whole(raw.get("number")) or 0,
            seal=untrusted.words(raw.get("seal")),
            at=untrusted.moment(raw.get("at")),
            problem=untrusted.words(raw.get("problem")),
        )

    def behind(self) -> int:
        """How many finished entries are still to be taken. Cost: one GETRANGE, one row.

        Raises:
            Unavailable: Redis or the database did not answer.
        """
        return max(0, chain_head.head(self._audit.engine) - self.position().number)

    def _failed(self, target: Receiver, problem: str) -> None:
        position = self._position or PushPosition()
        if position.problem != problem:
            log.warning("audit entries after %d were not taken by %s: %s", position.number, target.label, problem)
        self._state = after_failure(self._state, time.monotonic())
        self._save(replace(position, problem=problem))

    def _save(self, position: PushPosition) -> None:
        self._position = position
        record = {
            "target": self._audit.signer.mac(self._target),
            "number": position.number,
            "seal": position.seal,
            "at": position.at.isoformat() if position.at else None,
            "problem": position.problem,
        }
        try:
            with writes.aside():
                key = self._broker.keys.audit_push
                writes.put(self._broker.client, key, closed(self._audit.signer, record), ms=KEPT_MS)
        except redis.RedisError as error:  # after a restart these are pushed again
            log.info("how far audit entries were pushed is not written down: %s", type(error).__name__)
