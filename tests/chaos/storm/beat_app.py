"""The app of a storm's beat: one entry, twice a second, whose tasks say where they come from."""

from __future__ import annotations

import os

from support.sample_app import make_app

import opsdash.beat
import opsdash.worker

ENTRY = "ticks"
ORIGIN = "storm_beat"
"""Header of what it sends."""
EVERY_S = 0.5
READ_S = 0.25
"""How often it reads what is paused."""

opsdash.beat.READ_S = opsdash.beat.control.READ_S = READ_S
opsdash.beat.control.AGAIN_S = 1.0
app = make_app(os.environ.get("OPSDASH_REDIS_URL", "redis://localhost:6379/0"))
opsdash.worker.install(app)
app.conf.beat_schedule = {
    ENTRY: {
        "task": "sample.short",
        "schedule": EVERY_S,
        "args": [ENTRY],
        "options": {"queue": "reports", "headers": {ORIGIN: ENTRY}},
    }
}
