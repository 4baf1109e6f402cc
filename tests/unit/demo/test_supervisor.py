"""The supervisor, with small processes in place of the demo's: real signals, real deaths."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsdash.demo import supervisor as supervising
from opsdash.demo.child import Child, Part
from opsdash.demo.deployment import Deployment
from opsdash.demo.lifeline import Lifeline
from opsdash.demo.progress import Progress
from opsdash.demo.signals import Signals
from opsdash.demo.supervisor import Supervisor
from opsdash.errors import Unavailable

OBEDIENT = "import signal, time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
DEAD = "import sys; print('the reason', flush=True); sys.exit(3)"


class Stage:
    """A supervisor and what it says."""

    def __init__(self, demo: Deployment, lifeline: Lifeline, signals: Signals) -> None:
        self.demo, self.lifeline, self.signals = demo, lifeline, signals
        self.out = io.StringIO()

    def supervisor(self, *parts: Part) -> Supervisor:
        return Supervisor(
            parts, demo=self.demo, lifeline=self.lifeline, progress=Progress(self.out), signals=self.signals
        )


@pytest.fixture
def stage(deploy: Callable[..., Deployment]) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        demo = deploy(**os.environ)
        signals = stack.enter_context(Signals())
        lifeline = Lifeline(demo_id=demo.demo_id, remove=demo.folder.passing, lock=demo.folder.lock, env=demo.env())
        stack.callback(lifeline.goodbye)
        yield Stage(demo, lifeline, signals)


def up(child: Child) -> str | None:
    return "is up" if "up" in child.log_text() else None


def part(name: str, code: str = OBEDIENT, **changes: object) -> Part:
    return Part(name=name, label=name, command=lambda: [sys.executable, "-c", code], ready=up, **changes)  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_parts_start_when_what_they_need_is_ready_and_stop_in_the_reverse_order(stage: Stage) -> None:
    slow = "import time; time.sleep(0.5); print('up', flush=True); time.sleep(60)"
    supervisor = stage.supervisor(
        part("broker", slow), part("worker", after=("broker",)), part("producer", after=("worker",))
    )
    assert supervisor.start()
    pids = [child.pid for child in supervisor.running.values()]
    supervisor.stop()
    assert all(gone(pid) for pid in pids)
    words = re.findall(r" s  (\w+) ", stage.out.getvalue())
    assert words == ["broker", "worker", "producer", "producer", "worker", "broker"]


def test_a_part_that_dies_while_starting_is_named_with_its_last_lines(stage: Stage) -> None:
    supervisor = stage.supervisor(part("broker"), part("page", DEAD))
    with pytest.raises(Unavailable, match=r"page ended while it started \(exit code 3\)"):
        supervisor.start()
    assert "page | the reason" in stage.out.getvalue()
    supervisor.kill()
    assert not supervisor.running


def test_a_part_that_can_change_something_gets_another_try(stage: Stage) -> None:
    codes = iter([DEAD, OBEDIENT])
    page = Part(
        name="page",
        label="page",
        command=lambda: [sys.executable, "-c", next(codes)],
        ready=up,
        again=lambda: "somebody took port 1; trying 2",
    )
    supervisor = stage.supervisor(page)
    assert supervisor.start()
    assert "somebody took port 1; trying 2" in stage.out.getvalue()
    supervisor.kill()


def test_a_part_that_dies_later_is_started_again_and_then_said_to_be_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "RESTART_DELAY_S", 0.05)
    supervisor = stage.supervisor(part("worker"))
    supervisor.start()
    first = supervisor.running["worker"]
    os.kill(first.pid, signal.SIGKILL)

    def stop_when_back(child: Child) -> str | None:
        if child is not first and (back := up(child)):
            os.kill(os.getpid(), signal.SIGTERM)
            return back
        return None

    object.__setattr__(first.part, "ready", stop_when_back)
    supervisor.watch()
    assert "worker ended (ended by SIGKILL); starting it again" in stage.out.getvalue()
    assert "worker is back" in stage.out.getvalue()
    supervisor.kill()


def test_a_part_that_keeps_dying_ends_the_demo(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "RESTART_DELAY_S", 0.0)
    supervisor = stage.supervisor(part("worker", "print('up', flush=True); import time; time.sleep(0.2)"))
    supervisor.start()
    with pytest.raises(Unavailable, match=r"worker ended 5 times in \d+ s"):
        supervisor.watch()


def test_the_end_of_the_broker_ends_the_demo(stage: Stage) -> None:
    supervisor = stage.supervisor(part("broker", keeps_going=False), part("worker"))
    supervisor.start()
    os.kill(supervisor.running["broker"].pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="the broker ended"):
        supervisor.watch()
    supervisor.kill()


def test_what_ignores_sigterm_is_killed_after_its_grace(stage: Stage) -> None:
    supervisor = stage.supervisor(part("worker", STUBBORN, grace_s=0.3))
    supervisor.start()
    began = time.monotonic()
    supervisor.stop()
    assert 0.3 <= time.monotonic() - began < 5
    assert "worker did not stop in time: killed" in stage.out.getvalue()


def test_a_second_ctrl_c_kills_at_once(stage: Stage) -> None:
    supervisor = stage.supervisor(part("broker"), part("worker", STUBBORN, grace_s=60))
    supervisor.start()
    os.kill(os.getpid(), signal.SIGINT)
    supervisor.watch()  # the first one ends it
    pids = [child.pid for child in supervisor.running.values()]
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    assert all(gone(pid) for pid in pids)


def test_ctrl_c_during_the_start_ends_the_start(stage: Stage) -> None:
    supervisor = stage.supervisor(part("page", "import time; time.sleep(60)"))
    os.kill(os.getpid(), signal.SIGINT)
    assert supervisor.start() is False
    supervisor.kill()


def test_what_a_dead_child_left_in_its_group_is_killed(stage: Stage) -> None:
    leaves = "import subprocess, time; print('up', subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(0.3)"
    supervisor = stage.supervisor(part("broker", leaves, keeps_going=False))
    supervisor.start()
    orphan = int(supervisor.running["broker"].log_text().split()[1])
    with pytest.raises(Unavailable):
        supervisor.watch()
    deadline = time.monotonic() + 5
    while not gone(orphan) and not _zombie(orphan) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(orphan) or _zombie(orphan)


def _zombie(pid: int) -> bool:
    """Killed, and nobody reaps it: process 1 of a container may not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return False
