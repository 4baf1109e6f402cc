"""One process of the demo: how it is started, when it counts as ready, and how it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsdash.demo.keeper import kill_group

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: between fork and exec is no place for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the demo is made of: the declaration of one process.

    Attributes:
        name: Short, for the progress display and the name of its log.
        label: Of the progress step; several parts may share one.
        command: Made anew at each start: ports may have moved.
        after: Parts that must be ready first.
        ready: Says in a few words that it is ready, or None while it isn't.
        grace_s: Seconds between SIGTERM and SIGKILL.
        once: It ends by itself with exit code 0, and that is what ready means.
        again: It died while starting: says why another try may work, having changed what has to be changed; else None.
        keeps_going: When it dies later it is started again.
        config: Its standard input.
    """

    name: str
    label: str
    command: Callable[[], list[str]]
    ready: Callable[[Child], str | None]
    after: tuple[str, ...] = ()
    grace_s: float = 3.0
    once: bool = False
    again: Callable[[], str | None] = lambda: None
    keeps_going: bool = True
    config: Callable[[], bytes] | None = None


class Child:
    """One running process, leader of its own session: Ctrl-C in the terminal reaches the supervisor alone.

    Args:
        part: Its declaration.
        env: Its environment.
        folder: Its working directory; its log is ``logs/NAME.log`` in there, appended to.
    """

    def __init__(self, part: Part, *, env: Mapping[str, str], folder: Path) -> None:
        self.part = part
        self.log = folder / "logs" / f"{part.name}.log"
        self.started_at = time.time()
        self.ready = False
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            # A Popen that is still running at exit would be a warning; the supervisor always waits for it.
            self._process: subprocess.Popen[Any] = subprocess.Popen(  # noqa: S603 - our own command, no shell
                part.command(),
                stdin=subprocess.PIPE if part.config else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=folder,
                start_new_session=True,
                # Safe here: the supervisor has no threads, and what runs is one system call.
                preexec_fn=_die_with(os.getpid()) if _libc else None,
            )
        if part.config and self._process.stdin:
            with self._process.stdin as stdin:
                stdin.write(part.config())

    @property
    def pid(self) -> int:
        """Of the process, and of its process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it. Whatever it leaves in its group is killed."""
        code = self._process.poll()
        if code is not None:
            kill_group(self.pid)
        return code

    def terminate(self) -> None:
        """Asks it to stop: Celery finishes running tasks, the page closes."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and everything in its group now, and waits for that."""
        kill_group(self.pid)
        self._process.wait()

    def log_text(self) -> str:
        """What this run of it has written."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of its log, without empty lines."""
        return [line for line in self.log_text().splitlines() if line.strip()][-count:]


def describe_exit(code: int) -> str:
    """``exit code 1``, ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _die_with(parent: int) -> Callable[[], None]:
    """For the child, before it becomes another program: Linux kills it when the supervisor dies.

    The keeper does that too, and more; this is for the case that both are killed together.
    """

    def prepare() -> None:
        if _libc:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return prepare
