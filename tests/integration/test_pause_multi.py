"""``celery multi``: workers that put themselves into the background are paused like any other."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import programs
from support.deployment import SOON_S, Deployment, each_exactly_once
from support.services import until
from support.workers import PATH, PYTHON, eventually

NODES = ["first@test", "second@test"]


class Multi:
    """``celery multi`` for two nodes of the sample app, which itself knows nothing of opsdash."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._env = {**os.environ, **env, "SAMPLE_PLUGIN": "no", "PYTHONPATH": os.pathsep.join(PATH)}
        self._files = [f"--pidfile={folder}/%n.pid", f"--logfile={folder}/%n%I.log"]

    def __call__(self, verb: str, *arguments: str) -> None:
        command = [PYTHON, "-m", "celery", "multi", verb, *NODES, *self._files, *arguments]
        done = programs.run(command, env=self._env, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        self("start", "-A", "support.sample_app:app", "-c", "2", "-l", "INFO", "-I", "opsdash.worker.auto")

    def pids(self) -> list[int]:
        """Main processes that have written their pid down."""
        return [int(path.read_text()) for path in self.folder.glob("*.pid") if path.read_text().strip()]

    def logs(self) -> str:
        return "\n".join(f"--- {path.name} ---\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))


@contextlib.contextmanager
def in_the_background(deployment: Deployment, folder: Path) -> Iterator[Multi]:
    made = Multi(folder, deployment.env)
    try:
        yield made
    except BaseException as error:
        error.add_note(made.logs())
        raise
    finally:
        # In the background there is no leash: they are no children of this process.
        for pid in made.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_workers_started_and_stopped_by_celery_multi_are_paused(deployment: Deployment, tmp_path: Path) -> None:
    with in_the_background(deployment, tmp_path) as multi:
        multi.start()
        eventually(lambda: all(deployment.health(node) for node in NODES), timeout_s=20, what="both report")
        ids = deployment.send(300)
        deployment.records.wait_for(20)
        paused_at = deployment.pause()
        for node in NODES:
            deployment.wait_until_confirmed(node)
        assert deployment.records.stay(1.0) <= 4
        assert deployment.started_after(paused_at + SOON_S) == 0
        began = len(deployment.records)
        assert deployment.waiting() == 300 - began, "all others are in the list again"

        before = multi.pids()
        assert len(before) == 2
        multi("stopwait")
        assert all(gone(pid) for pid in before)
        assert not any(deployment.health(node) for node in NODES), "and off the list"
        assert (deployment.waiting(), len(deployment.records)) == (300 - began, began), "none started, none lost"

        multi.start()
        assert until(lambda: len(multi.pids()) == 2 and set(multi.pids()).isdisjoint(before))
        for node in NODES:
            deployment.wait_until_confirmed(node)
        assert deployment.records.stay(1.0) == 0, "started anew, still paused"
        deployment.resume()
        deployment.records.wait_for(300)
        assert {start.worker for start in deployment.records.starts()} == set(NODES)
        assert deployment.records.times_run() == each_exactly_once(ids)
        multi("stopwait")
