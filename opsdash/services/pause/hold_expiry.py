"""Holds that ended by themselves: each gets one audit entry, by whichever console finds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from opsdash.errors import OpsdashError
from opsdash.model import Status, untrusted
from opsdash.model.hold import EXPIRY, LONGEST_HOLD, MOST_HOLDS
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker

log = logging.getLogger(__name__)

OPERATIONS = {"task": "release_tasks", "tenant": "release_tenant", "limit": "remove_concurrency_limit"}
"""Kind of a hold → what ends it before its time."""


@dataclass(slots=True)
class HoldExpiry:
    """Writes down what workers or consoles have released when its time was over."""

    audit: AuditLog
    broker: Broker
    _failing: bool = False

    def write_ended(self) -> int:
        """Audits what ended; never raises for an outage: what is owed is tried again. Cost: one round trip.

        Returns:
            How many entries that made.
        """
        written = 0
        try:
            with self.broker.reading():
                ended = bounded_reads.some_fields(
                    self.broker.client, self.broker.keys.hold_ended, MOST_HOLDS, LONGEST_HOLD
                )
            for name, text in ended.items():
                written += self._write(name, text)
                with self.broker.reading(), writes.aside():
                    self.broker.client.hdel(self.broker.keys.hold_ended, name)
        except OpsdashError as error:
            if not self._failing:
                log.warning("a hold that ended is not audited yet: %s", error)
            self._failing = True
        else:
            self._failing = False
        return written

    def _write(self, name: str, text: str) -> bool:
        told = untrusted.mapping(untrusted.parsed(text, LONGEST_HOLD))
        hold, _, ended = name.partition(":")
        kind = str(told.get("kind"))
        kind = kind if kind in OPERATIONS else "task"
        what = untrusted.words(told.get("name"), LONGEST_HOLD)
        queue, by = untrusted.words(told.get("queue"), LONGEST_HOLD), untrusted.words(told.get("by"))
        at, ended_at = untrusted.moment(told.get("at")), untrusted.moment(ended) or datetime.now(UTC)
        params = {"tenant" if kind == "tenant" else "task": what} | ({"queue": queue or None} if kind == "task" else {})
        of = f" of queue {queue}" if queue else ""
        held = f"concurrency limit of {what}" if kind == "limit" else f"hold of {kind} {what}{of}"
        return self.audit.note(
            user=EXPIRY,
            operation=OPERATIONS[kind],
            status=Status.SUCCESS,
            timestamp=ended_at,
            # The same for every console that sees it, and another one's on another broker.
            request_id=uuid5(NAMESPACE_URL, f"opsdash:hold-end:{name}:{at or ''}:{self.audit.here()}"),
            details={
                "message": f"The {held} by {by or 'somebody'} expired. Its tasks are back in front.",
                "params": params,
                "surface": "system",
                "hold": hold,
                "held_since": at.isoformat() if at else "",
                "held_s": round((ended_at - at).total_seconds(), 3) if at else None,
                "reason": untrusted.words(told.get("reason"), LONGEST_HOLD),
            },
        )
