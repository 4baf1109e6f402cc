"""What a worker loads because of opsdash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = {"panel", "param", "bokeh", "pandas", "numpy", "sqlalchemy", "alembic"}
CONSOLE = {"opsdash.services", "opsdash.operations", "opsdash.state", "opsdash.views", "opsdash.config.settings"}
PROGRAM = """
import json, sys
from celery import Celery
app = Celery("proj", broker="redis://127.0.0.1:1/0")
import opsdash.worker, opsdash.worker.auto
opsdash.worker.install(app)
before = sorted(sys.modules)
from celery.bootsteps import Blueprint
from celery.worker.consumer import Consumer
steps = Consumer.Blueprint(steps=app.steps["consumer"]).claim_steps()
print(json.dumps([before, sorted(sys.modules), sorted(steps)]))
"""


@pytest.fixture(scope="module")
def loaded() -> tuple[set[str], set[str], list[str]]:
    """Modules after installing; modules once a worker has resolved its steps; the steps."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, steps = json.loads(done.stdout)
    return set(before), set(after), steps


def test_a_worker_loads_nothing_of_the_console(loaded: tuple[set[str], set[str], list[str]]) -> None:
    _, after, steps = loaded
    assert "opsdash.worker.bootstep.PauseStep" in steps
    assert not (HEAVY | CONSOLE) & after


def test_a_process_that_only_sends_tasks_pays_for_nothing(loaded: tuple[set[str], set[str], list[str]]) -> None:
    before, _, _ = loaded
    assert "opsdash.worker" in before
    assert not {"redis", "opsdash.worker.bootstep"} & before
    ours = {name for name in before if name.partition(".")[0] == "opsdash"}
    assert ours == {
        "opsdash",
        "opsdash.keys",
        "opsdash.worker",
        "opsdash.worker.auto",
        "opsdash.worker.sent_time",
    }
