"""The keeper: nothing of a demo outlives its supervisor."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsdash.demo import keeper


def until(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "demo" / "logs").mkdir(parents=True)
    return tmp_path / "demo"


@pytest.fixture
def keeping(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A keeper; its standard input is what the supervisor holds."""
    command = [sys.executable, "-I", "-S", keeper.__file__, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
    yield process
    keeper.kill_group(process.pid)
    process.communicate()


@pytest.fixture
def member(keeping: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A shell in the keeper's group that says which its child is."""
    command = ["sh", "-c", "sleep 60 & echo $!; wait"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, process_group=keeping.pid)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.long
def test_the_end_of_the_supervisor_ends_its_processes_and_its_folder(
    folder: Path, keeping: subprocess.Popen[bytes], member: subprocess.Popen[bytes]
) -> None:
    assert member.stdout
    assert keeping.stdin
    member.stdout.readline()
    assert member.poll() is None
    assert folder.exists()
    keeping.stdin.close()
    assert member.wait(timeout=10) == -9
    assert member.stdout.read() == b"", "its child, which had the pipe too, has ended"
    assert until(lambda: not folder.exists())
    keeping.wait(timeout=10)


@pytest.mark.long
def test_the_signals_that_stop_a_demo_do_not_stop_its_keeper(
    folder: Path, keeping: subprocess.Popen[bytes], member: subprocess.Popen[bytes]
) -> None:
    assert member.stdout
    assert keeping.stdin
    member.stdout.readline()
    assert until(lambda: Path(f"/proc/{keeping.pid}/status").read_text().split("SigIgn:\t")[1][12:16] >= "4003")
    keeping.terminate()
    assert member.poll() is None
    keeping.stdin.close()
    assert member.wait(timeout=10) == -9
    assert until(lambda: not folder.exists())
