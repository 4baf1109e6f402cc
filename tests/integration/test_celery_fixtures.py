"""Celery's own test fixtures with the plug-in: one process builds several workers, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.services import Valkey
from support.workers import PATH

SUITE = """
import os, threading, time
import pytest, redis
from celery import Celery
from celery.contrib.testing.worker import start_worker
import celery.contrib.testing.tasks
import opsdash.worker

URL = os.environ["BROKER"]
OPTIONS = {"perform_ping_check": False, "pool": "threads", "concurrency": 1, "loglevel": "CRITICAL"}


@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": URL, "result_backend": URL}


@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"perform_ping_check": False}


@pytest.fixture
def celery_app(celery_app):
    opsdash.worker.install(celery_app)
    return celery_app


def outcome(task):
    try:
        return task.delay().get(timeout=15)
    except Exception as error:
        return repr(error)


def tasks_of(app):
    @app.task
    def fails():
        raise ValueError("on purpose")

    @app.task
    def works():
        return 7

    return fails, works


@pytest.mark.parametrize("again", range(2))
def test_celerys_worker_fixture(celery_app, celery_worker, again):
    fails, works = tasks_of(celery_app)
    celery_worker.reload()
    assert [outcome(fails), outcome(works)] == ["ValueError('on purpose')", 7]


@pytest.mark.parametrize("again", range(2))
def test_start_worker(again):
    app = Celery(f"own{again}", broker=URL, backend=URL, set_as_current=False)
    opsdash.worker.install(app)
    fails, works = tasks_of(app)
    with start_worker(app, **OPTIONS) as worker:
        assert [outcome(fails), outcome(works)] == ["ValueError('on purpose')", 7]
        with redis.Redis.from_url(URL, decode_responses=True) as client:
            until = time.monotonic() + 10
            while client.hget(f"opsdash:worker:{worker.hostname}", "failed") != "1" and time.monotonic() < until:
                time.sleep(0.1)
            assert client.hget(f"opsdash:worker:{worker.hostname}", "failed") == "1", "each failure counts once"
"""


@pytest.mark.long
def test_celerys_own_fixtures_work_with_the_plug_in_failing_tasks_included(valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "test_with_celery.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "celery.contrib.pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-p", "no:schemathesis", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
        env={"BROKER": valkey.url, "PYTHONPATH": ":".join(PATH), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    assert "4 passed" in done.stdout
