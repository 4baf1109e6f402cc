"""What is reported of an entry of a scheduler: of Celery's own, or of one that has its entries in a table.

django-celery-beat's scheduler loads a part of its table: neither what is disabled nor what is due in some
hours. And an entry that it has loaded keeps the last run of that time; the row of it has the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.utils.log import get_logger
from celery.utils.time import maybe_make_aware

from opsdash.beat.words import in_short
from opsdash.model.schedule import MOST_SCHEDULES

logger = get_logger(__name__)

SCHEDULES = ("interval", "crontab", "solar", "clocked")
FIELDS = ("name", "enabled", "last_run_at", "total_run_count", "date_changed", "one_off", "expires", "start_time")
"""What tells a row from an entry."""


class Rows:
    """Reads the table. Never writes, and never raises: without an answer it has what was read last.

    Args:
        model: The scheduler's ``Model``; None: it has its entries elsewhere, and no row is found.
    """

    def __init__(self, model: Any) -> None:
        self._objects = getattr(model, "_default_manager", None)
        self._known: Mapping[str, Any] = {}
        self._failing = False

    def read(self) -> Mapping[str, Any]:
        """By name, those that are enabled first. Cost: one query."""
        if self._objects is None:
            return {}
        try:
            found = self._objects.select_related(*SCHEDULES).order_by("-enabled", "name")[:MOST_SCHEDULES]
            self._known = {row.name: row for row in found}
        except Exception:  # the database's, of any kind: beat goes on
            if not self._failing:
                logger.exception("opsdash: the table of the schedule could not be read; beat goes on")
            self._failing = True
        else:
            self._failing = False
        return self._known

    def find(self, name: str) -> Any:
        """One row; None where there is none. It may raise what the database raises. Cost: one query."""
        return None if self._objects is None else self._objects.filter(name=name).first()


def last_run(one: Any) -> str | None:
    """When its task was sent last; None: never, as far as its scheduler knows."""
    known = _row(one) or one
    at = known.last_run_at
    if not getattr(known, "total_run_count", 0) or not isinstance(at, datetime):
        return None
    if at == getattr(known, "date_changed", None):
        return None  # a loaded row that was never sent has this in its place
    return _text(at)


def next_run(one: Any) -> str | None:
    """When it is due next; None: never, or not known. Writes nothing, which the entry of a row may when it is asked."""
    try:
        row, now = _row(one), datetime.now(UTC)
        if row is None:
            due, left_s = one.is_due()
        elif not row.enabled or (row.one_off and row.total_run_count) or _is_over(row.expires, now):
            return None
        elif row.start_time is not None and not _is_over(row.start_time, now):
            return _text(row.start_time)
        else:
            due, left_s = row.schedule.is_due(maybe_make_aware(row.last_run_at or row.date_changed))
        # By the clock of now, a moment after its own: cut to a second, 04:00:00 does not become 03:59:59.
        return _text(datetime.now(UTC) + timedelta(seconds=0 if due else float(left_s)))
    except Exception:  # noqa: BLE001 - a schedule may be anybody's
        return None


def in_words(one: Any) -> str:
    """Its schedule; empty where it has none."""
    try:
        return in_short(one.schedule)
    except Exception:  # noqa: BLE001 - as above
        return ""


def is_enabled(one: Any) -> bool:
    """Its scheduler runs it."""
    return bool(getattr(_row(one) or getattr(one, "model", None), "enabled", True))


def _row(one: Any) -> Any:
    """The row of an entry, or the row that it is; None: its scheduler has none."""
    return next((row for row in (one, getattr(one, "model", None)) if all(hasattr(row, f) for f in FIELDS)), None)


def _is_over(at: datetime | None, now: datetime) -> bool:
    return at is not None and now >= maybe_make_aware(at)


def _text(at: datetime) -> str:
    """In UTC; a time without a zone is Celery's, which is UTC."""
    return str(maybe_make_aware(at).astimezone(UTC).isoformat(timespec="seconds"))
