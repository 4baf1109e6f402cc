"""Older Celerys, down to the oldest that opsdash promises: the tests of pausing, with workers that run on them."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.environments import INSTALL_TIMEOUT_S, environment_with, run

ROOT = Path(__file__).parents[2]
OLDEST = "5.4.0"
RUN_TIMEOUT_S = 600
BETWEEN = ["5.5.3", "5.6.3"]
TESTS = [
    "tests/integration/test_cancel_workflow.py",
    "tests/integration/test_failed_tasks.py",
    "tests/integration/test_find_task.py",
    "tests/integration/test_layout.py",
    "tests/integration/test_pause_cycle.py",
    "tests/integration/test_pause_green.py",
    "tests/integration/test_pause_last_look.py",
    "tests/integration/test_pause_remote_control.py",
    "tests/integration/test_pause_stops.py",
    "tests/integration/test_pause_topologies.py",
    "tests/integration/test_pause_workflows.py",
    "tests/integration/test_poison.py",
    "tests/integration/test_retry_with_workers.py",
    "tests/integration/test_worker_tasks.py",
]


def test_the_oldest_celery_that_is_tried_is_the_oldest_that_is_promised() -> None:
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    celery = next(r for r in map(Requirement, lines) if r.name == "celery")
    assert celery.specifier.contains(OLDEST)
    assert f">={OLDEST.removesuffix('.0')}" in str(celery.specifier)


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_TIMEOUT_S * 2 + RUN_TIMEOUT_S + 60)
@pytest.mark.parametrize("version", [OLDEST, *BETWEEN])
def test_workers_on_an_older_celery_pause_like_those_on_the_newest(tmp_path: Path, version: str) -> None:
    # The workers take opsdash from the checkout, and need nothing of the console's.
    python = environment_with(
        tmp_path / "venv",
        f"celery[redis]=={version}",
        "kombu[redis]",  # as opsdash asks for it
        "gevent",
        "packaging",  # kombu imports it, undeclared
    )
    found = run([python, "-c", "import celery; print(celery.__version__)"], "Celery can't be imported", 30)
    assert found.strip() == version
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    output = run(command, f"with workers on Celery {version}", RUN_TIMEOUT_S, WORKER_PYTHON=str(python))
    assert " passed" in output
    assert " skipped" not in output
