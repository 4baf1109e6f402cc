"""Holds that ended by themselves: each gets one audit entry, by whichever console finds it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar
from uuid import NAMESPACE_URL, uuid5

from opsdash.model import Status, untrusted
from opsdash.model.hold import EXPIRY, LONGEST_HOLD, MOST_HOLDS
from opsdash.services.broker import bounded_reads
from opsdash.services.pause.ended import Ended

OPERATIONS = {"task": "release_tasks", "tenant": "release_tenant", "limit": "remove_concurrency_limit"}
"""Kind of a hold → what ends it before its time."""


class HoldExpiry(Ended):
    """Writes down what workers or consoles have released when its time was over."""

    what: ClassVar[str] = "a hold"

    def _find(self) -> Mapping[str, str]:
        return bounded_reads.some_fields(self.broker.client, self.broker.keys.hold_ended, MOST_HOLDS, LONGEST_HOLD)

    def _forget(self, name: str, text: str) -> None:
        self.broker.client.hdel(self.broker.keys.hold_ended, name)

    def _write(self, name: str, text: str) -> bool:
        told = untrusted.mapping(untrusted.parsed(text, LONGEST_HOLD))
        hold, _, ended = name.partition(":")
        kind = str(told.get("kind"))
        kind = kind if kind in OPERATIONS else "task"
        what = untrusted.words(told.get("name"), LONGEST_HOLD)
        queue, by = untrusted.words(told.get("queue"), LONGEST_HOLD), untrusted.words(told.get("by"))
        at, ended_at = untrusted.moment(told.get("at")), untrusted.moment(ended) or datetime.now(UTC)
        params = {"tenant" if kind == "tenant" else "task": what} | ({"queue": queue or None} if kind == "task" else {})
        which = f"of tenant {what}" if kind == "tenant" else what + (f" of queue {queue}" if queue else "")
        held = f"concurrency limit of {what}" if kind == "limit" else f"hold of tasks {which}"
        return self.audit.note(
            user=EXPIRY,
            operation=OPERATIONS[kind],
            status=Status.SUCCESS,
            timestamp=ended_at,
            # The same for every console that sees it, and another one's on another broker.
            request_id=uuid5(NAMESPACE_URL, f"opsdash:hold-end:{name}:{at or ''}:{self.audit.here()}"),
            details={
                "message": f"The {held} by {by or 'somebody'} expired. Its tasks are the next to run.",
                "params": params,
                "surface": "system",
                "hold": hold,
                "held_since": at.isoformat() if at else "",
                "held_s": round((ended_at - at).total_seconds(), 3) if at else None,
                "reason": untrusted.words(told.get("reason"), LONGEST_HOLD),
            },
        )
