"""A Django project as the documentation of Django and Celery lays it out, without a database: its workers pause."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.deployment import SOON_S, Deployment, each_exactly_once
from support.workers import PATH, worker

PROJECT = {
    "shop/__init__.py": """
from .celery import app as celery_app

__all__ = ("celery_app",)
""",
    "shop/settings.py": """
import os

SECRET_KEY = "for a test"
USE_TZ = True
INSTALLED_APPS = ["orders"]
CELERY_BROKER_URL = os.environ["OPSDASH_REDIS_URL"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
""",
    "shop/celery.py": """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "orders/__init__.py": "",
    "orders/tasks.py": """
import json
import time

import redis
from celery import shared_task
from django.apps import apps
from django.conf import settings


@shared_task(bind=True)
def ship(self, argument=None):
    started = time.time()
    assert apps.ready
    line = json.dumps([self.request.id, started, self.name, argument, self.request.hostname])
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as client:
        client.rpush("sample:started", line)
    time.sleep(0.01)
""",
}
"""Path in the project → content. It knows nothing of opsdash."""
TWO_LINES = """
import opsdash.worker

opsdash.worker.install(app)
"""


@pytest.mark.slow
@pytest.mark.parametrize("plug_in", ["with an option", "with two lines"])
def test_a_django_project_is_paused_and_goes_on(deployment: Deployment, tmp_path: Path, plug_in: str) -> None:
    for name, content in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    if plug_in == "with two lines":
        with (tmp_path / "shop" / "celery.py").open("a") as module:
            module.write(TWO_LINES)
    arguments = ["-I", "opsdash.worker.auto"] if plug_in == "with an option" else []
    env = {**deployment.env, "PYTHONPATH": os.pathsep.join([str(tmp_path), *PATH])}
    with worker(app="shop", env=env, arguments=arguments) as running:
        ids = deployment.send(100, "orders.tasks.ship")
        deployment.records.wait_for(10)
        paused_at = deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        assert deployment.records.stay(1.0) <= 2
        assert deployment.started_after(paused_at + SOON_S) == 0
        began = len(deployment.records)
        assert began < 100
        assert deployment.waiting() == 100 - began, "all others are in the list again"
        deployment.resume()
        deployment.records.wait_for(100)
    assert deployment.records.times_run() == each_exactly_once(ids)
