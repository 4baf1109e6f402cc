"""A schedule in words."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab, schedule

from opsdash.model.untrusted import words
from opsdash.text import in_words

CRONTAB = ("_orig_minute", "_orig_hour", "_orig_day_of_month", "_orig_month_of_year", "_orig_day_of_week")


def in_short(kind: Any) -> str:
    """``every 30 seconds``, ``crontab 0 4 * * *``, as a crontab has them; else its own words."""
    if isinstance(kind, crontab):
        return words(f"crontab {' '.join(str(getattr(kind, field, '?')) for field in CRONTAB)}")
    every = getattr(kind, "run_every", None)
    if isinstance(kind, schedule) and every is not None:
        seconds = every.total_seconds()
        return f"every {in_words(seconds) if seconds >= 1 and _even(seconds) else f'{seconds:g} seconds'}"
    return words(str(kind))


def _even(seconds: float) -> bool:
    """It is a whole number of its largest unit, so that nothing is lost in words."""
    unit = next(size for size in (86_400, 3_600, 60, 1) if seconds >= size)
    return seconds % unit == 0
