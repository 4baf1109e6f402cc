"""Pauses that nobody resumed: they expired, or their flag was removed outside opsdash. Each gets one audit entry."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from opsdash.errors import OpsdashError
from opsdash.model import PauseInfo, Status
from opsdash.services.pause.flags import PauseFlags

if TYPE_CHECKING:
    from opsdash.services.audit.log import AuditLog

log = logging.getLogger(__name__)

EXPIRY, OUTSIDE = "(expiry)", "(outside opsdash)"
"""The users of entries that no user made."""
CLOCK_SLACK = timedelta(seconds=2)
"""Redis counts a TTL down by its own clock: that close to the end, a flag is gone because its time was up."""


class PauseExpiry:
    """Notices ended pauses and writes them down, exactly once however many consoles look.

    The story of a pause outlives its flag in the hash, so a console that starts later still finds it. After a flush
    the hash is gone too: then what this console saw last is what it has.

    Args:
        find_audit: Gives the log, once there is something to write down.
    """

    def __init__(self, find_audit: Callable[[], AuditLog], flags: PauseFlags) -> None:
        self._find_audit, self._flags = find_audit, flags
        self._seen: dict[str | None, PauseInfo] = {}
        self._left: list[PauseInfo] = []
        self._owed: deque[PauseInfo] = deque()
        self._failing = False

    def look(self, active: Mapping[str | None, PauseInfo], left: Iterable[PauseInfo], epoch: int | None) -> None:
        """Takes one read of the flags, and notes what ended. Costs nothing; ``write_ended`` writes it down.

        Args:
            active: The pauses in force.
            left: Stories without a flag.
            epoch: The pause counter; a resume raises it, a flush takes it away.
        """
        self._left = list(left)
        with_details = {info.queue for info in self._left}
        for queue, info in self._seen.items():
            flushed = info.epoch is not None and (epoch is None or epoch < info.epoch)
            if flushed and queue not in active and queue not in with_details:
                self._owed.append(info)
        self._seen = dict(active)

    @property
    def owes(self) -> bool:
        """There is something to write down."""
        return bool(self._owed or self._left)

    def write_ended(self) -> int:
        """Audits what ended. For one thread at a time, beside the one that looks.

        Never raises for an outage: what is owed is tried again.

        Returns:
            How many entries that made.
        """
        written = 0
        try:
            while self._owed:
                written += self._write(self._owed[0])
                self._owed.popleft()
            for info in self._left:
                written += self._write(info)
                self._flags.forget(info)
        except OpsdashError as error:
            if not self._failing:  # once, not at every read of a long outage
                log.warning("an ended pause is not audited yet: %s", error)
            self._failing = True
        else:
            self._failing = False
        return written

    def _write(self, info: PauseInfo) -> bool:
        audit, now = self._find_audit(), datetime.now(UTC)
        expired = info.expires_at is not None and now >= info.expires_at - CLOCK_SLACK
        what = "all processing" if info.queue is None else f"queue {info.queue}"
        how = "expired" if expired else "was ended outside opsdash: its flag is gone"
        at = info.at.isoformat() if info.at else ""
        ended_at = min(now, info.expires_at) if expired and info.expires_at else now
        return audit.note(
            user=EXPIRY if expired else OUTSIDE,
            operation="resume_processing",
            status=Status.SUCCESS,
            timestamp=ended_at,
            # The same for every console that sees it, and another one's on another broker.
            request_id=uuid5(NAMESPACE_URL, f"opsdash:pause-end:{info.queue or '*'}:{info.epoch}:{at or audit.here()}"),
            details={
                "message": f"The pause of {what} by {info.by or 'somebody'} {how}.",
                "params": {"queue": info.queue},
                "surface": "system",
                "epoch": info.epoch,
                "paused_at": at,
                "paused_s": round((ended_at - info.at).total_seconds(), 3) if info.at else None,
                "reason": info.reason,
            },
        )
