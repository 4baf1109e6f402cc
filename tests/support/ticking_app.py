"""The app of the tests on what is said of a pause: its tasks write down every moment in which they run."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from support.sample_app import _die_with_the_worker  # noqa: F401 - connects its signal

import opsdash.worker

TICK_S = 0.02


def make_app(broker_url: str, **options: Any) -> Celery:
    """The app, for a worker or for whoever sends tasks."""
    made = Celery("ticking", broker=broker_url, set_as_current=False)
    made.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        **options,
    )
    return made


app = Celery("none", set_as_current=False)
if "TICKING_FILE" in os.environ:
    app = make_app(
        os.environ["OPSDASH_REDIS_URL"], worker_enable_remote_control=os.environ.get("TICKING_REMOTE") != "off"
    )
    if os.environ.get("TICKING_PLUGIN") != "no":
        opsdash.worker.install(app)


def _run(task: Any, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    line = f" {task.request.hostname} {os.getpid()} {task.request.id}\n"
    with open(os.environ["TICKING_FILE"], "a") as record:
        while True:
            record.write(f"{time.time():.6f}{line}")
            record.flush()
            if time.monotonic() >= until_s:
                return
            time.sleep(TICK_S)


@app.task(name="ticking.early", bind=True)
def early(self: Any, seconds: float) -> None:
    _run(self, seconds)


@app.task(name="ticking.late", bind=True, acks_late=True)
def late(self: Any, seconds: float) -> None:
    _run(self, seconds)
