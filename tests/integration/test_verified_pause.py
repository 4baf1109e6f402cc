"""Wanted against observed: a pause that waits until a real worker has stopped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import programs
from support.services import Valkey
from support.workers import Records, eventually, producer, worker

from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Iterator[Console]:
    """A console beside a threads worker that has reported."""
    console = console_for(queues=("celery", "emails"))
    with worker(pool="threads", env={"OPSDASH_REDIS_URL": console.settings.redis_url}):
        eventually(console.get_active_workers, what="the worker reports")
        yield console


@pytest.fixture
def send(valkey: Valkey) -> Iterator[Any]:
    with producer(valkey.url) as app:
        yield app.send_task


def opsdash(console: Console, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
    }
    command = [sys.executable, "-m", "opsdash", *args]
    return programs.run(command, env=environment, capture_output=True, text=True, check=False)


def running(console: Console) -> int:
    return sum(worker.active for worker in console.get_worker_stats())


def begin_a_long_task(console: Console, valkey: Valkey, send: Any, seconds: float) -> None:
    records = Records(valkey.url)
    send("sample.short", ["long", seconds])
    records.wait_for(1)
    records.close()
    eventually(lambda: running(console), what="the worker reports its running task")


def test_a_pause_that_waits_returns_once_the_running_task_has_finished(console: Console, valkey: Valkey, send: Any):
    begin_a_long_task(console, valkey, send, 8)  # longer than a command takes to start on a busy machine
    done = opsdash(console, "pause-processing", "--confirm", "YES", "--wait")
    assert done.returncode == 0, done.stderr
    assert re.search(r"finishes 1 task, oldest \ds\.", done.stderr)
    assert done.stdout.splitlines()[-1] == "The one worker has stopped; safe to deploy."
    assert running(console) == 0
    assert "safe to deploy" in opsdash(console, "status").stdout


@pytest.mark.long
def test_a_pause_that_waits_too_long_is_uncertain_and_holds(console: Console, valkey: Valkey, send: Any):
    begin_a_long_task(console, valkey, send, 30)
    done = opsdash(console, "pause-processing", "--confirm", "YES", "--wait", "--timeout", "1s", "--json")
    assert done.returncode == 5
    assert "still not done after 1s" in done.stderr
    assert json.loads(done.stdout)["progress"]["done"] is False
    assert console.is_processing_paused()
    assert "0 of 1 worker stopped" in opsdash(console, "status").stdout
