"""The scheduler of django-celery-beat with the mixin, on its own tables: its rows are seen, paused and run now."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from support.beats import beat
from support.services import Valkey
from support.workers import PATH, PYTHON, eventually

from opsdash.errors import Refused
from opsdash.keys import Keys
from opsdash.model import Schedule
from opsdash.operations import PauseSchedule, ResumeSchedule, RunScheduleNow
from opsdash.services.console import Console

KEYS = Keys()
PROJECT = {
    "shop/__init__.py": "",
    "shop/settings.py": """
import os

SECRET_KEY = "for a test"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"]}}
CELERY_BROKER_URL = os.environ["OPSDASH_REDIS_URL"]
CELERY_RESULT_EXPIRES = None
""",
    "shop/celery.py": """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
""",
    "edit.py": """
import os
import sys
from datetime import timedelta

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()

from django.core.management import call_command
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask

exec(sys.argv[1])
""",
}
"""Path in the project → content."""
ROWS = """
call_command("migrate", verbosity=0)
second = IntervalSchedule.objects.create(every=1, period="seconds")
hour = IntervalSchedule.objects.create(every=1, period="hours")
far = (timezone.now() + timedelta(hours=8)).hour
night = CrontabSchedule.objects.create(minute="5", hour=str(far), timezone="Europe/Berlin")
later = ClockedSchedule.objects.create(clocked_time=timezone.now() + timedelta(days=2))
make = PeriodicTask.objects.create
make(name="often", task="sample.short", interval=second, args='["often"]')
make(name="hourly", task="sample.short", interval=hour)
make(name="nightly", task="sample.report", crontab=night, kwargs='{"a": 1}', queue="reports")
make(name="once", task="sample.short", clocked=later, one_off=True)
make(name="off", task="sample.short", interval=second, enabled=False, queue="emails")
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("django_celery_beat") is None, reason="django-celery-beat is not installed"
    ),
]


class Shop:
    """A Django project with its database."""

    def __init__(self, folder: Path, server: Valkey) -> None:
        self.folder = folder
        paths = [str(folder), *PATH, *filter(None, [os.environ.get("PYTHONPATH", "")])]
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OPSDASH_REDIS_URL": server.url,
            "SHOP_DATABASE": str(folder / "shop.sqlite3"),
        }
        for name, content in PROJECT.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)
        self.edit(ROWS)

    def edit(self, code: str) -> None:
        """Changes rows as the admin does: by the models."""
        subprocess.run([PYTHON, "edit.py", code], cwd=self.folder, env=self.env, check=True)


def entry(console: Console, name: str) -> Schedule | None:
    return next((one for one in console.schedules.read() if one.name == name), None)


def test_its_rows_are_seen_paused_resumed_run_now_and_followed(
    valkey: Valkey, console_for: Callable[..., Console], tmp_path: Path
) -> None:
    console, shop = console_for(), Shop(tmp_path, valkey)
    running = beat(valkey, tmp_path, app="shop", scheduler="opsdash.beat.django:Scheduler", env=shop.env)
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client, running as process:
        eventually(lambda: entry(console, "often"), what="entries", timeout_s=30)
        assert sorted(one.name for one in console.schedules.read()) == ["hourly", "nightly", "off", "often", "once"]

        # What the scheduler has not loaded, since it is disabled or not due for hours, is in its table.
        off, nightly, once = (entry(console, name) for name in ("off", "nightly", "once"))
        assert (off.state, off.next_run_at, off.last_run_at) == ("disabled", None, None)
        assert (nightly.state, nightly.task, nightly.last_run_at) == ("runs", "sample.report", None)
        assert nightly.schedule.endswith("Europe/Berlin")
        now = datetime.now(UTC)
        assert 3_600 < (nightly.next_run_at - now).total_seconds() < 86_400
        assert nightly.next_run_at.minute == 5
        assert 47 < (once.next_run_at - now).total_seconds() / 3_600 <= 48

        # Last and next run are those of now, not those of when it was loaded.
        eventually(lambda: entry(console, "often").last_run_at, what="its last run")
        seen = entry(console, "often").last_run_at
        eventually(lambda: entry(console, "often").last_run_at > seen, what="the next one", timeout_s=15)
        assert 3_000 < (entry(console, "hourly").next_run_at - now).total_seconds() <= 3_700

        console.run(PauseSchedule(schedule="often", duration_s=600), actor="maria", confirm="YES")
        eventually(lambda: "often is paused and not sent" in process.log, what="beat knows of the pause")
        client.delete("celery")
        eventually(lambda: (entry(console, "often").missed or 0) >= 3, what="missed runs", timeout_s=15)
        assert client.llen("celery") == 0
        paused = entry(console, "often")
        assert (paused.state, paused.applied) == ("paused", True)
        assert (datetime.now(UTC) - paused.last_run_at).total_seconds() > 2, "a run that was left out is none"

        for name, queue in (("often", "celery"), ("nightly", "reports"), ("off", "emails")):
            ran = console.run(RunScheduleNow(schedule=name), actor="maria", confirm="YES")
            (message,) = client.lrange(queue, 0, -1)
            headers = json.loads(message)["headers"]
            assert (headers["id"], headers["periodic_task_name"]) == (ran.details["task_id"], name)
        client.delete("celery")
        console.run(ResumeSchedule(schedule="often"), actor="maria", confirm="YES")
        eventually(lambda: client.llen("celery") >= 1, what="it is sent again")
        assert client.llen("celery") <= 2, "nothing is caught up"

        shop.edit(
            'row = PeriodicTask.objects.get(name="often"); row.enabled = False; row.save()\n'
            'PeriodicTask.objects.get(name="hourly").delete()\n'
            'row = PeriodicTask.objects.get(name="once"); row.task = "sample.other"; row.save()\n'
            "make = PeriodicTask.objects.create\n"
            'make(name="new", task="sample.short", interval=IntervalSchedule.objects.get(every=1, period="seconds"))'
        )
        eventually(lambda: entry(console, "often").state == "disabled", what="it is disabled", timeout_s=15)
        eventually(lambda: entry(console, "new"), what="what was added", timeout_s=15)
        eventually(lambda: entry(console, "new").last_run_at, what="its first run", timeout_s=15)
        assert entry(console, "hourly") is None
        assert entry(console, "once").task == "sample.other"
        with pytest.raises(Refused, match="hourly"):
            console.preview(PauseSchedule(schedule="hourly"))
