"""``opsdash`` as it is typed: off a terminal, in this process; on one, in its own."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from support import programs
from support.services import until

from opsdash.cli import main


@dataclass
class Result:
    code: int
    out: str
    err: str


def off_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """What runs ``opsdash ARGS`` off a terminal."""

    def run(*args: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["opsdash", *args])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run


CTRL_C, CTRL_D = "\x03", "\x04"


def on_a_terminal(environment: dict[str, str], answers: list[str], *args: str) -> tuple[int, str]:
    """Runs ``opsdash ARGS`` on a pseudo-terminal and types one answer to each question it asks.

    Gives the exit code and what the screen showed.
    """
    answers = list(answers)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "opsdash", *args]
    # A shell that runs the tests in the background ignores SIGINT, and so would every child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = programs.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **environment})
    signal.signal(signal.SIGINT, before)
    os.close(theirs)
    screen, asked = b"", 0

    def ended() -> bool:
        nonlocal screen, asked
        try:
            screen += os.read(ours, 4_096)
        except BlockingIOError:
            return False
        except OSError:  # the other end is closed: it has ended
            return child.wait(10) is not None
        if answers and screen.count(b"Type ") > asked:
            asked, typed = asked + 1, answers.pop(0)
            if typed == CTRL_C:
                child.send_signal(signal.SIGINT)
            else:
                os.write(ours, typed.encode())
        return False

    with child:
        os.set_blocking(ours, False)
        until(ended, timeout_s=30)
        child.kill()  # nothing, unless it hangs
    os.close(ours)
    return child.returncode, screen.decode()
