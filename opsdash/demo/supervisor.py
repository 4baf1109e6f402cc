"""Starts the processes of the demo, watches them, and stops them, whatever happens.

Those on PyPI do less (honcho restarts nothing) or need a daemon (supervisor, circus), and none of them ends its
processes when it is killed itself.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import click

from opsdash.demo import keeper
from opsdash.demo.folder import Folder
from opsdash.errors import Unavailable

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 12.0
"""A worker finishes its running tasks, which takes 6 s at most."""
RESTART_DELAY_S = 2.0
"""Long enough to see on the page what the end of a worker looks like."""
POLL_S = 0.1
"""How often the parts are looked at: an end of one has no event to wait for that Ctrl-C would interrupt as well."""
START_POLL_S = 0.02
"""The same until all is ready, which the user waits for."""
_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the demo, as it is declared.

    Attributes:
        name: Its log is ``logs/NAME.log``.
        command: Called at each start: the page's port may have changed.
        ready: Says in a few words that it is ready, or None while it isn't.
        stdin: What it reads.
        vital: The others start once it is ready and end before it, and without it the demo ends.
        at_once: It starts with the vital ones: its start takes long, and needs them in the end only.
    """

    name: str
    command: Callable[[], list[str]]
    ready: Callable[[Child], str | None]
    stdin: bytes = b""
    vital: bool = False
    at_once: bool = False


class Child:
    """One running process. Its log is appended to."""

    def __init__(self, part: Part, *, folder: Folder, **options: Any) -> None:
        self.part = part
        self.ready: str | None = None
        self._log = folder.logs / f"{part.name}.log"
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                part.command(), stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder.path, **options
            )
        with contextlib.suppress(BrokenPipeError), cast("IO[bytes]", self.process.stdin) as stdin:
            stdin.write(part.stdin)

    def log_text(self) -> str:
        """What this run of it has written."""
        return self._log.read_bytes()[self._log_start :].decode(errors="replace")


def step(name: str, text: str) -> None:
    """Says that one step is done, with its time in seconds since the start."""
    click.echo(f"{time.monotonic() - _STARTED:6.1f} s  {name:<14}  {text}")


class Supervisor:
    """Runs the parts of one demo, in one thread.

    All processes are in the group of a keeper process, which kills them when this process dies; Ctrl-C in the terminal
    reaches this process alone.

    Args:
        stops: Grows with each request to stop.
    """

    def __init__(self, parts: Sequence[Part], *, env: Mapping[str, str], folder: Folder, stops: Sequence[int]) -> None:
        self.parts = parts
        self.running: dict[str, Child] = {}
        self._env, self._folder, self._stops = dict(env), folder, stops
        self._ready: set[str] = set()
        self._start_at: dict[str, float] = {}  # of those that ended
        self._keeper = subprocess.Popen(  # noqa: S603 - our own command, no shell
            # -I -S: neither site-packages nor the user's variables; ready in some 15 ms.
            [sys.executable, "-I", "-S", keeper.__file__, *map(str, folder.passing)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=(folder.lock,),
            process_group=0,
        )

    def run(self, ready: Callable[[], None], prepared: Callable[[], bool] = lambda: True) -> None:
        """Starts everything; returns on a request to stop.

        Args:
            ready: Called once, when all parts are ready.
            prepared: Whether what is done beside them is; it may raise.

        Raises:
            Unavailable: A part did not start, or a vital one ended.
        """
        deadline, started = time.monotonic() + START_TIMEOUT_S, False
        while not self._stops:
            for part in self.parts:
                self._look(part)
            missing = [part.name for part in self.parts if part.name not in self._ready]
            if not started and prepared() and not missing:
                started = True
                ready()
            elif missing and time.monotonic() > deadline:
                for child in self.running.values():
                    self._show_log(child)
                raise Unavailable(f"not ready after {START_TIMEOUT_S:.0f} s: {', '.join(missing)}")
            time.sleep(POLL_S if started else START_POLL_S)

    def stop(self) -> None:
        """Asks all to end, vital ones last. What is left in the end, or at another request to stop, is killed."""
        requested = len(self._stops)
        left = [child for child in self.running.values() if not child.part.vital]
        for child in left:
            child.process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while left and time.monotonic() < deadline and len(self._stops) == requested:
            time.sleep(POLL_S)
            for child in [child for child in left if child.process.poll() is not None]:
                left.remove(child)
                step(child.part.name, "stopped")
        for child in left:
            step(child.part.name, "did not stop in time: killed")
        self.kill()

    def kill(self) -> None:
        """Ends everything now, and what ended processes have left behind. Twice is once."""
        if self._keeper.returncode is not None:  # its number may belong to another process by now
            return
        keeper.kill_group(self._keeper.pid)
        for process in (self._keeper, *(child.process for child in self.running.values())):
            process.wait()
        self._keeper.communicate()  # closes the pipe
        self.running.clear()

    def _look(self, part: Part) -> None:
        """One look at a part: does it have to be started, has it ended, is it ready?"""
        child = self.running.get(part.name)
        if child is None:
            waits = not (part.vital or part.at_once) and any(
                other.vital and other.name not in self._ready for other in self.parts
            )
            if not waits and time.monotonic() > self._start_at.get(part.name, 0.0):
                try:
                    self.running[part.name] = Child(
                        part, folder=self._folder, env=self._env, process_group=self._keeper.pid
                    )
                except OSError as error:
                    raise Unavailable(f"{part.name} can't be started: {error}") from error
        elif (code := child.process.poll()) is not None:
            del self.running[part.name]
            self._ended(child, code)
        elif not child.ready:
            from redis import RedisError  # takes a tenth of a second: the first parts start before that

            with contextlib.suppress(RedisError):  # the broker does not answer yet
                child.ready = part.ready(child)
            if child.ready:
                back = f"is back (process {child.process.pid}): " if part.name in self._ready else ""
                step(part.name, f"{back}{child.ready}")
                self._ready.add(part.name)

    def _ended(self, child: Child, code: int) -> None:
        name = child.part.name
        how = f"exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        self._show_log(child)
        if child.part.vital:
            raise Unavailable(f"the {name} ended ({how}), and its queues with it; its last lines are above")
        # One more try, also while it starts: another process may have taken the page's port meanwhile.
        if name in self._start_at and name not in self._ready:
            raise Unavailable(f"{name} ended while it started ({how}); its last lines are above")
        self._start_at[name] = time.monotonic() + RESTART_DELAY_S
        step(name, f"ended ({how}); starting it again")

    def _show_log(self, child: Child) -> None:
        for line in [line for line in child.log_text().splitlines() if line.strip()][-8:]:
            click.echo(f"{'':10}{child.part.name} | {line}")


def stop_requests() -> list[int]:
    """From now on, SIGINT, SIGTERM and SIGHUP do not end the process: they are added to this list."""
    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup: the user wants it to outlive the terminal
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: stops.append(number))
    return stops
