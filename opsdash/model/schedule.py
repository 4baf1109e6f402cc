"""Entries of beat's schedule, as beat reports them. Standard library only."""

from __future__ import annotations

from datetime import datetime

from opsdash.values import frozen

MOST_SCHEDULES = 500
"""Entries that are reported and shown."""
LONGEST_NAME = 200
"""Characters of an entry's name: a longer one can't be paused."""
REPORT_S = 5.0
SILENT_S = 15.0
"""Without a report for so long, an entry is not known to be run by anybody: beat reports every ``REPORT_S``."""


@frozen(kw_only=True)
class SchedulePause:
    """Why an entry does not fire.

    Attributes:
        expires_at: When it ends by itself, in UTC.
    """

    by: str = ""
    at: datetime | None = None
    reason: str = ""
    expires_at: datetime | None = None


@frozen(kw_only=True)
class Schedule:
    """One entry.

    Attributes:
        schedule: In words: ``every 30 seconds``, ``crontab 0 4 * * *``.
        last_run_at: When its task was sent last, in UTC; None: not known. ``next_run_at``: when it is due next.
        enabled: Its scheduler runs it.
        missed: Runs that a pause has left out since it began; None while it is not paused.
        host, pid: The beat that runs it. ``reported_at``: when that reported, in UTC.
        silent: That beat has not reported for a while: nobody may run it.
        pause: None: it is not paused. ``applied``: beat has read of the pause.
    """

    name: str
    task: str = ""
    schedule: str = ""
    last_run_at: datetime | None = None
    next_run_at: datetime | None = None
    enabled: bool = True
    missed: int | None = None
    host: str = ""
    pid: int = 0
    reported_at: datetime | None = None
    silent: bool = False
    pause: SchedulePause | None = None
    applied: bool = False

    @property
    def fires_at(self) -> datetime | None:
        """When it sends its task next, in UTC; None: not known, or not while it is paused, disabled or silent."""
        due = self.next_run_at if self.enabled and not self.silent else None
        if due is None or self.pause is None:
            return due
        return due if self.pause.expires_at and due >= self.pause.expires_at else None

    @property
    def state(self) -> str:
        """In one word: ``runs``, ``paused``, ``disabled`` or ``silent``."""
        if self.pause is not None:
            return "paused"
        if self.silent:
            return "silent"
        return "runs" if self.enabled else "disabled"
