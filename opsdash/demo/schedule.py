"""What the demo's beat sends, so that there are schedules to look at, to pause and to run."""

from __future__ import annotations

from celery.schedules import crontab

SCHEDULE = {
    "stock-recount": {
        "task": "inventory.recount",
        "schedule": 30.0,
        "kwargs": {"seconds": 0.5, "subject": "all shelves"},
        "options": {"queue": "celery", "priority": 3},
    },
    "weekly-newsletter": {
        "task": "emails.newsletter",
        "schedule": crontab("30", "8", day_of_week="mon"),
        "kwargs": {"seconds": 2.0, "subject": "all customers"},
        "options": {"queue": "emails", "priority": 9},
    },
    "nightly-report": {
        "task": "reports.monthly",
        "schedule": crontab("0", "4"),
        "kwargs": {"seconds": 5.0, "subject": "yesterday"},
        "options": {"queue": "celery", "priority": 9},
    },
}
"""As ``beat_schedule`` takes it."""
