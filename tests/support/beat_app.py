"""An app with a schedule, for real beat processes: ``OPSDASH_REDIS_URL`` the broker.

Beat reads and tries again sooner than in production: what a test sees is the same, and it waits less for it.
"""

from __future__ import annotations

import os

from celery.schedules import crontab
from support.sample_app import make_app

import opsdash.beat
import opsdash.worker

opsdash.beat.READ_S = opsdash.beat.control.READ_S = 0.25
opsdash.beat.control.AGAIN_S = 2.0
app = make_app(os.environ["OPSDASH_REDIS_URL"])
opsdash.worker.install(app)
app.conf.beat_schedule = {
    "often": {"task": "sample.short", "schedule": 1.0, "args": ["often"]},
    "other": {"task": "sample.short", "schedule": 1.0, "args": ["other"], "options": {"queue": "emails"}},
    "nightly": {
        "task": "sample.report",
        "schedule": crontab("0", "4"),
        "kwargs": {"a": 1},
        "options": {"queue": "reports"},
    },
}
