"""A schedule in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery.schedules import crontab, schedule
from celery.utils.time import maybe_make_aware

from opsdash.model.untrusted import words
from opsdash.text import in_words

CRONTAB = ("_orig_minute", "_orig_hour", "_orig_day_of_month", "_orig_month_of_year", "_orig_day_of_week")


def in_short(kind: Any) -> str:
    """``every 30 seconds``, ``crontab 0 4 * * *``, as a crontab has them; else its own words.

    django-celery-beat's crontabs name their time zone: ``crontab 0 4 * * * Europe/Berlin``.
    """
    if isinstance(kind, crontab):
        zone = None if type(kind) is crontab else vars(kind).get("tz")  # Celery's own has the app's there
        parts = [str(getattr(kind, field, "?")) for field in CRONTAB] + ([str(zone)] if zone else [])
        return words(f"crontab {' '.join(parts)}")
    at = getattr(kind, "clocked_time", None)
    if isinstance(at, datetime):
        return words(f"once at {maybe_make_aware(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    every = getattr(kind, "run_every", None)
    if isinstance(kind, schedule) and every is not None:
        seconds = every.total_seconds()
        return f"every {in_words(seconds) if seconds >= 1 and _even(seconds) else f'{seconds:g} seconds'}"
    return words(str(kind))


def _even(seconds: float) -> bool:
    """It is a whole number of its largest unit, so that nothing is lost in words."""
    unit = next(size for size in (86_400, 3_600, 60, 1) if seconds >= size)
    return seconds % unit == 0
