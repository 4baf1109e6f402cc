"""The database's half of a snapshot: the log and the tenants, each as fresh as its own database lets it be.

The half that comes from Redis never waits for it: what the database does not say soon is read on in the background,
and shown by a later snapshot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, TenantDrift
from opsdash.services.audit.approvals import Approvals
from opsdash.services.audit.log import AuditLog
from opsdash.services.audit.reaper import Reaper
from opsdash.services.database import time_limit
from opsdash.services.database.engine import short_label
from opsdash.services.database.time_limit import TimeLimit
from opsdash.services.monitoring.brief_reads import RECENT
from opsdash.services.pause.ended import Ended
from opsdash.services.pause.expiry import PauseExpiry
from opsdash.services.tenants.sync import Tenants

log = logging.getLogger(__name__)
head_log = logging.getLogger("opsdash.audit.head")
"""A separate logger, so that a log collector also keeps the head of the hash chain."""
FIRST_WAIT_S = 2.0
"""While nothing is known yet: a first connection takes longer than a later one."""
LITTLE_S = 0.05
"""While another call waits for the same database."""
SOON_S = 2.0
"""What is read for no longer than this is not called late: its age says enough."""


@dataclass(frozen=True, slots=True)
class _Log:
    """What was read of the log, and when by the monotonic clock."""

    operations: tuple[AuditEntry, ...]
    head: str
    read_s: float


@dataclass(frozen=True, slots=True)
class _Tenants:
    rows: int | None
    drift: TenantDrift | None
    read_s: float


class DatabaseReads:
    """Reads it and remembers what was read last. One caller at a time.

    Cost: three queries, one thread for each of the parts; three round trips to Redis for the tenants.
    """

    def __init__(
        self,
        *,
        audit: AuditLog,
        tenants: Tenants,
        approvals: Approvals,
        reaper: Reaper,
        expiry: PauseExpiry,
        ended: Iterable[Ended],
    ) -> None:
        self._ended = tuple(ended)
        self._audit, self._source = audit, tenants
        self._approvals, self._reaper, self._expiry = approvals, reaper, expiry
        self._log: _Log | None = None
        self._tenants: _Tenants | None = None
        self._log_part = _Part(f"The database at {short_label(audit.engine.url)}")
        self._tenants_part = _Part("The tenants' database")

    def read(self, *, redis_answers: bool) -> dict[str, Any]:
        """The half as fields of a `Snapshot`; waits for the database as long as `patience.WAIT_S`, a few times at most.

        Args:
            redis_answers: Then what waits for the database is brought there, and the tenants are compared.
        """
        known = self._log is not None
        wait_s = LITTLE_S if self._audit.writing.hangs else time_limit.WAIT_S if known else FIRST_WAIT_S
        error = self._log_part.read(self._read_log, wait_s, known=known)
        away = bool(error) or self._log_part.hangs
        if redis_answers and not away and self._write_pending():
            error = self._log_part.read(self._read_log, wait_s, known=True)
        tenants_error = self._tenants_part.read(
            lambda: self._read_tenants(compare=redis_answers),
            LITTLE_S if away else wait_s,
            known=self._tenants is not None,
        )
        parts = {"database": self._log_part, "tenants": self._tenants_part}
        return {
            "operations": self._log.operations if self._log else (),
            "audit_head": self._log.head if self._log else "",
            "database_age_s": _age_s(self._log),
            "database_error": error,
            "silent": [name for name, part in parts.items() if part.silent],
            "tenants": self._tenants.rows if self._tenants else None,
            "tenant_drift": self._tenants.drift if self._tenants else None,
            "tenants_in_use": self._source.in_use(self._tenants.rows, self._tenants.drift) if self._tenants else None,
            "tenants_age_s": _age_s(self._tenants),
            "tenants_error": tenants_error,
        }

    def _read_log(self) -> None:
        operations, head = self._audit.recent(RECENT), self._audit.head()
        if head and (self._log is None or head != self._log.head):
            head_log.info("audit head %s (keep a copy in another place: opsdash audit verify --head)", head)
        self._log = _Log(operations, head, time.monotonic())

    def _read_tenants(self, *, compare: bool) -> None:
        if compare:
            drift = self._source.drift()
            self._tenants = _Tenants(drift.rows, drift, time.monotonic())
        else:
            last = self._tenants.drift if self._tenants else None
            self._tenants = _Tenants(self._source.count(), last, time.monotonic())

    def _write_pending(self) -> bool:
        """Brings to the database what waits for it; whether that was something that the log shows."""
        try:
            return self._audit.draining.run(self._write_pending_now)
        except OpsdashError as error:
            log.debug("what waits for the database waits on: %s", error)
            return False

    def _write_pending_now(self) -> bool:
        ended = self._expiry.write_ended() + sum(one.write_ended() for one in self._ended)
        self._approvals.close_expired()
        self._reaper.close_dead()
        return bool(self._audit.drain() or ended)


class _Part:
    """What is asked of one database, and why that is not known."""

    def __init__(self, who: str) -> None:
        self._who, self._time_limit = who, TimeLimit(who)
        self._silent_since_s: float | None = None  # monotonic: since when there is no answer
        self._error = ""
        self.silent = False
        """It did not answer at all: an outage. Any other error needs a person to read and repair it."""

    @property
    def hangs(self) -> bool:
        """It was asked and has not answered."""
        return self._time_limit.hangs

    def read(self, call: Callable[[], None], wait_s: float, *, known: bool) -> str:
        """Why what ``call`` reads is not known; empty where it is, or was a moment ago."""
        now = time.monotonic()
        try:
            self._time_limit.run(call, wait_s=wait_s)
        except OpsdashError as error:
            self._silent_since_s = now if self._silent_since_s is None else self._silent_since_s
            silent_s = time.monotonic() - self._silent_since_s
            if not self._time_limit.hangs and not (self._time_limit.rests and self._error):
                self._error = error.explanation  # it failed
                self.silent = error.silent
            elif not known or silent_s > SOON_S:
                self._error, self.silent = f"{self._who} did not answer in time", True
            return self._error
        self._silent_since_s, self._error, self.silent = None, "", False
        return ""


def _age_s(read: _Log | _Tenants | None) -> float | None:
    return None if read is None else time.monotonic() - read.read_s
