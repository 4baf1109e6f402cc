"""Pauses of beat's entries that ended by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar
from uuid import NAMESPACE_URL, uuid5

from opsdash.model import Status, untrusted
from opsdash.model.hold import EXPIRY
from opsdash.services.pause.ended import Ended
from opsdash.services.workers.schedules import Schedules, read_pause


class ScheduleExpiry(Ended):
    """Writes down the pauses that nobody resumed. Beat itself obeys their ends, with or without a console."""

    what: ClassVar[str] = "a schedule's pause"

    def _find(self) -> Mapping[str, str]:
        return Schedules(self.broker).ended()

    def _forget(self, name: str, text: str) -> None:
        Schedules(self.broker).forget(name, text)

    def _write(self, name: str, text: str) -> bool:
        pause = read_pause(text)
        if pause is None:
            return False
        at, ended_at = pause.at, pause.expires_at or datetime.now(UTC)
        since = at.isoformat() if at else ""
        return self.audit.note(
            user=EXPIRY,
            operation="resume_schedule",
            status=Status.SUCCESS,
            timestamp=ended_at,
            # The same for every console that sees it, and another one's on another broker.
            request_id=uuid5(NAMESPACE_URL, f"opsdash:schedule-end:{name}:{since}:{ended_at}:{self.audit.here()}"),
            details={
                "message": f"The pause of schedule {untrusted.words(name)} by {pause.by or 'somebody'} expired.",
                "params": {"schedule": untrusted.words(name)},
                "surface": "system",
                "paused_at": since,
                "paused_s": round((ended_at - at).total_seconds(), 3) if at else None,
                "reason": pause.reason,
            },
        )
