"""The supervisor, with small processes in place of the demo's: real signals, real deaths."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsdash.demo import supervisor as supervising
from opsdash.demo.folder import Folder
from opsdash.demo.supervisor import Child, Part, Supervisor, stop_requests
from opsdash.errors import Unavailable

OBEDIENT = "import signal, time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
DEAD = "import sys; print('the reason', flush=True); sys.exit(3)"


class Stage:
    """A supervisor and what it says."""

    def __init__(self, folder: Folder, stops: list[int], capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.stops, self._capsys = folder, stops, capsys
        self.supervisors: list[Supervisor] = []
        self._said = ""

    def supervisor(self, *parts: Part) -> Supervisor:
        made = Supervisor(parts, env=os.environ, folder=self.folder, stops=self.stops)
        self.supervisors.append(made)
        return made

    def start(self, *parts: Part) -> Supervisor:
        """Starts these parts; somebody asks to stop as soon as they are ready, which is then forgotten."""
        made = self.supervisor(*parts)
        made.run(ready=lambda: self.stops.append(signal.SIGTERM))
        self.stops.clear()
        return made

    @property
    def said(self) -> str:
        self._said += self._capsys.readouterr().out
        return self._said


@pytest.fixture
def stage(folder: Folder, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    stage = Stage(folder, stop_requests(), capsys)
    yield stage
    for supervisor in stage.supervisors:
        supervisor.kill()
    for number, handler in before.items():
        signal.signal(number, handler)


def up(child: Child) -> str | None:
    return "is up" if "up" in child.log_text() else None


def part(name: str, code: str = OBEDIENT, **changes: object) -> Part:
    return Part(name=name, command=lambda: [sys.executable, "-c", code], ready=up, **changes)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_broker_starts_before_what_needs_it_and_ends_after_it(stage: Stage) -> None:
    slow = "import time; time.sleep(0.5); print('up', flush=True); time.sleep(60)"
    supervisor = stage.start(part("worker"), part("broker", slow, vital=True), part("page"))
    broker = supervisor.running["broker"].process
    pids = [child.process.pid for child in supervisor.running.values()]
    broker.terminate = lambda: pytest.fail("its queues are still needed")
    supervisor.stop()
    assert all(gone(pid) for pid in pids)
    steps = re.findall(r" s  (\w+) +(.+)", stage.said)
    assert steps[0] == ("broker", "is up")
    assert sorted(steps[1:3]) == [("page", "is up"), ("worker", "is up")]
    assert sorted(steps[3:]) == [("page", "stopped"), ("worker", "stopped")]


def test_a_part_that_dies_twice_while_starting_is_named_with_its_last_lines(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "RESTART_DELAY_S", 0.05)
    with pytest.raises(Unavailable, match=r"page ended while it started \(exit code 3\)"):
        stage.start(part("broker"), part("page", DEAD))
    assert "page | the reason" in stage.said


def test_a_part_that_dies_while_starting_gets_another_try(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "RESTART_DELAY_S", 0.05)
    codes = iter([DEAD, OBEDIENT])
    page = Part(name="page", command=lambda: [sys.executable, "-c", next(codes)], ready=up)
    assert stage.start(page).running["page"].ready
    assert "ended (exit code 3); starting it again" in stage.said


def test_a_part_that_dies_later_is_started_again_and_then_said_to_be_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "RESTART_DELAY_S", 0.05)
    pids: list[int] = []

    def stop_when_back(child: Child) -> str | None:
        if not up(child):
            return None
        pids.append(child.process.pid)
        if len(pids) == 2:
            stage.stops.append(signal.SIGTERM)
        return "is up"

    worker = Part(name="worker", command=lambda: [sys.executable, "-c", OBEDIENT], ready=stop_when_back)
    stage.supervisor(worker).run(ready=lambda: os.kill(pids[0], signal.SIGKILL))
    assert re.search(r"worker +ended \(by SIGKILL\); starting it again", stage.said)
    assert re.search(rf"worker +is back \(process {pids[1]}\): is up", stage.said)


def test_the_end_of_the_broker_ends_the_demo(stage: Stage) -> None:
    supervisor = stage.supervisor(part("broker", vital=True), part("worker"))
    with pytest.raises(Unavailable, match="the broker ended"):
        supervisor.run(ready=lambda: supervisor.running["broker"].process.kill())


def test_what_ignores_sigterm_is_killed_after_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "STOP_TIMEOUT_S", 0.3)
    supervisor = stage.start(part("worker", STUBBORN))
    began = time.monotonic()
    supervisor.stop()
    assert 0.3 <= time.monotonic() - began < 5
    assert re.search(r"worker +did not stop in time: killed", stage.said)


def test_a_second_ctrl_c_kills_at_once(stage: Stage) -> None:
    supervisor = stage.supervisor(part("broker", vital=True), part("worker", STUBBORN))
    supervisor.run(ready=lambda: os.kill(os.getpid(), signal.SIGINT))
    pids = [child.process.pid for child in supervisor.running.values()]
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    assert all(gone(pid) for pid in pids)


def test_ctrl_c_during_the_start_ends_the_start(stage: Stage) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    said: list[str] = []
    stage.supervisor(part("page", "import time; time.sleep(60)")).run(ready=lambda: said.append("ready"))
    assert said == []


def test_what_a_dead_process_left_behind_ends_with_the_demo(stage: Stage) -> None:
    leaves = "import subprocess, time; print('up', subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(0.3)"
    supervisor = stage.start(part("worker", leaves))
    child = supervisor.running["worker"]
    orphan = int(child.log_text().split()[1])
    child.process.wait()
    assert not gone(orphan)
    supervisor.stop()
    deadline = time.monotonic() + 5
    while not gone(orphan) and not _zombie(orphan) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(orphan) or _zombie(orphan)


def _zombie(pid: int) -> bool:
    """Killed, and nobody reaps it: process 1 of a container may not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return False
