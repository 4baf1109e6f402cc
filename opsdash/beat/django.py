"""The scheduler of django-celery-beat, with its entries seen, paused, resumed and run from opsdash.

``celery -A proj beat -S opsdash.beat.django:Scheduler``, or ``CELERY_BEAT_SCHEDULER`` in Django's settings.
"""

from __future__ import annotations

from django_celery_beat.schedulers import DatabaseScheduler

from opsdash.beat import Schedules

__all__ = ["Scheduler"]


class Scheduler(Schedules, DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """It runs what is in its tables; opsdash reads them through it, and writes nothing there."""
