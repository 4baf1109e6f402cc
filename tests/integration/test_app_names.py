"""``OPSDASH_CELERY_APP`` as people write it: on the layout of a Django project, and with modules that print or fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import programs

Run = Callable[..., subprocess.CompletedProcess[str]]
DJANGO = {
    "proj/__init__.py": 'from .celery import app as celery_app\n\n__all__ = ("celery_app",)\n',
    "proj/settings.py": """
import os

SECRET_KEY = "for a test"
CELERY_BROKER_URL = os.environ["OPSDASH_REDIS_URL"]
CELERY_TASK_DEFAULT_QUEUE = "orders"
""",
    "proj/celery.py": """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
print("this module prints when it is imported")

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
""",
}


@pytest.fixture
def run(valkey_url: str, sqlite_url: str, tmp_path: Path) -> Run:
    """``run(files, app, ARGS)`` types ``opsdash ARGS`` in a folder with these files."""

    def type_it(files: dict[str, str], app: str, *args: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        env = {
            **os.environ,
            "OPSDASH_REDIS_URL": valkey_url,
            "OPSDASH_DATABASE_URL": sqlite_url,
            "OPSDASH_CELERY_APP": app,
        }
        command = [sys.executable, "-m", "opsdash", *args]
        return programs.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)

    return type_it


@pytest.mark.long
@pytest.mark.parametrize("app", ["proj:app", "proj", "proj.celery", "proj.celery:app", "proj:celery_app"])
def test_the_app_of_a_django_project_is_found_and_what_it_prints_spoils_no_json(run: Run, app: str) -> None:
    done = run(DJANGO, app, "queues", "--json")
    assert done.returncode == 0, done.stderr
    assert [queue["name"] for queue in json.loads(done.stdout)] == ["orders"]
    assert "this module prints when it is imported" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("files", "app", "says"),
    [
        ({}, "proj:app", "ModuleNotFoundError: No module named 'proj'"),
        ({"proj.py": "import nothing_like_it\n"}, "proj:app", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ({"proj.py": "x = 1\n"}, "proj:app", "AttributeError: proj has no 'app', and no Celery app under another name"),
        ({"proj.py": "raise SystemExit('no configuration')\n"}, "proj:app", "SystemExit: no configuration"),
        (
            {
                "proj.py": "from celery import Celery\napp = Celery('proj')\napp.config_from_object('conf')\n",
                "conf.py": "import os\nbroker_url = os.environ['NOT_SET_HERE']\n",
            },
            "proj:app",
            "KeyError: 'NOT_SET_HERE'",
        ),
    ],
)
def test_an_app_that_can_not_be_loaded_is_one_line_with_the_cause(
    run: Run, files: dict[str, str], app: str, says: str
) -> None:
    done = run(files, app, "status", "--json")
    assert (done.returncode, done.stderr) == (2, f"opsdash: OPSDASH_CELERY_APP: can't load {app!r}: {says}\n")
