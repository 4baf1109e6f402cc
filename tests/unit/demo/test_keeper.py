"""The keeper: nothing of a demo outlives its supervisor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsdash.demo import keeper
from opsdash.demo.lifeline import Lifeline

linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc on this system")


def until(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process group: a shell and its child."""
    env = {**os.environ, keeper.MARK: uuid.uuid4().hex}
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], env=env, start_new_session=True)
    process.mark = env[keeper.MARK]  # type: ignore[attr-defined]
    yield process
    keeper.kill_group(process.pid)
    process.wait()


def keeper_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", keeper.__file__], stdin=subprocess.PIPE)


def tell(process: subprocess.Popen[bytes], *messages: dict[str, object], end: bytes = b"") -> None:
    assert process.stdin
    with process.stdin as stdin:
        stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages) + end)


def test_the_end_of_the_supervisor_ends_its_groups_and_its_folder(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    folder = tmp_path / "demo"
    (folder / "logs").mkdir(parents=True)
    process = keeper_process()
    tell(process, {"demo_id": "", "remove": [str(folder)]}, {"started": sleeper.pid})
    assert sleeper.wait(timeout=10) == -9
    assert process.wait(timeout=15) == 0
    assert not folder.exists()


@linux_only
def test_a_process_that_left_its_group_is_found_by_its_mark(sleeper: subprocess.Popen[bytes]) -> None:
    process = keeper_process()
    tell(process, {"demo_id": sleeper.mark, "remove": []})  # type: ignore[attr-defined]
    assert sleeper.wait(timeout=10) == -9
    assert process.wait(timeout=15) == 0
    assert keeper.marked_processes(sleeper.mark) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("messages", [[{"goodbye": True}], [{"ended": None}]], ids=["goodbye", "ended"])
def test_what_was_stopped_in_order_is_left_alone(
    messages: list[dict[str, object]], sleeper: subprocess.Popen[bytes]
) -> None:
    process = keeper_process()
    told = [{"ended": sleeper.pid} if "ended" in message else message for message in messages]
    tell(process, {"demo_id": "", "remove": []}, {"started": sleeper.pid}, *told)
    assert process.wait(timeout=15) == 0
    assert sleeper.poll() is None


def test_a_message_cut_short_by_death_counts_as_death(sleeper: subprocess.Popen[bytes]) -> None:
    process = keeper_process()
    tell(process, {"demo_id": "", "remove": []}, {"started": sleeper.pid}, end=b'{"goodbye": tr')
    assert sleeper.wait(timeout=10) == -9
    process.wait(timeout=15)


def test_a_keeper_that_was_killed_is_replaced_and_told_everything_again(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    with (tmp_path / "lock").open("w") as lock:
        lifeline = Lifeline(demo_id="", remove=[folder], lock=lock.fileno(), env=os.environ)
        lifeline.started(sleeper.pid)
        first = lifeline.pid
        os.kill(first, 9)
        assert until(lambda: lifeline.check() or lifeline.pid != first)
        lifeline._close()
        assert sleeper.wait(timeout=10) == -9
        assert until(lambda: not folder.exists())
        lifeline.goodbye()
