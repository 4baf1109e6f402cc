"""Starts the processes of the demo, watches them, and stops them in order, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import redis

from opsdash.demo import keeper
from opsdash.demo.folder import Folder
from opsdash.errors import Unavailable

START_TIMEOUT_S = 90.0
RESTART_DELAY_S = 2.0
"""Long enough to see on the page what the end of a worker looks like."""
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the demo is made of: the declaration of one process.

    Attributes:
        name: Short, for what is said about it and the name of its log.
        command: Called at each start: the page's port may have changed.
        ready: Says in a few words that it is ready, or None while it isn't.
        after: Parts that must be ready first.
        stdin: What it reads.
        grace_s: Seconds between SIGTERM and SIGKILL.
        once: It ends by itself with exit code 0, and that is what ready means.
        again: It died while starting: says why another try may work, having changed what has to be changed; else None.
        vital: The demo ends with it; other parts are started again.
    """

    name: str
    command: Callable[[], list[str]]
    ready: Callable[[Child], str | None]
    after: tuple[str, ...] = ()
    stdin: bytes = b""
    grace_s: float = 3.0
    once: bool = False
    again: Callable[[], str | None] = lambda: None
    vital: bool = False

    @property
    def label(self) -> str:
        """What it is, without which one: ``worker``."""
        return self.name.partition("-")[0]


class Child:
    """One running process. Its log is ``logs/NAME.log`` in the demo's folder, appended to."""

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

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of its log, without empty lines."""
        return [line for line in self.log_text().splitlines() if line.strip()][-count:]


class Progress:
    """Says what happens. Nobody reading any more (``opsdash demo | head``) is no reason to end."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def step(self, label: str, text: str) -> None:
        """One step is done, with its time in seconds since the start."""
        self(f"{time.monotonic() - self._started:6.1f} s  {label:<10} {text}")

    def __call__(self, text: str) -> None:
        """Some lines, at once."""
        try:
            print(text, flush=True)  # noqa: T201 - what the command says
        except OSError:  # the pipe or the terminal is gone; Python would complain at exit about what is still buffered
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Supervisor:
    """Runs the parts of one demo, in one thread.

    All processes are in the group of a keeper process, which kills them when this process dies; Ctrl-C in the terminal
    reaches this process alone.

    Args:
        parts: In the order of starting; they are stopped in the reverse order.
        env: The environment of each process.
        folder: Their working directory.
        stops: Grows with each request to stop.
    """

    def __init__(
        self, parts: Sequence[Part], *, env: Mapping[str, str], folder: Folder, say: Progress, stops: Sequence[int]
    ) -> None:
        self.parts = parts
        self.running: dict[str, Child] = {}
        self._env, self._folder, self._say, self._stops = dict(env), folder, say, stops
        self._ready: set[str] = set()
        self._due: dict[str, float] = {}
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

    def run(self, ready: Callable[[], None]) -> None:
        """Starts everything, each part as soon as what it needs is ready; returns on a request to stop.

        Args:
            ready: Called once, when all parts are ready.

        Raises:
            Unavailable: A part did not start, or a vital one ended.
        """
        deadline, started = time.monotonic() + START_TIMEOUT_S, False
        while not self._stops:
            for part in self.parts:
                self._look(part)
            missing = [part.name for part in self.parts if part.name not in self._ready]
            if not started and not missing:
                started = True
                ready()
            elif not started and time.monotonic() > deadline:
                self._show_log(self.running.get(missing[0]))
                raise Unavailable(
                    f"the demo was not ready after {START_TIMEOUT_S:.0f} s: no sign of {', '.join(missing)}"
                )
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Stops everything in the reverse order; another request to stop meanwhile kills what is left at once.

        Parts of one label (the workers) get their grace together.
        """
        requested = len(self._stops)
        for label in dict.fromkeys(part.label for part in reversed(self.parts)):
            children = [child for child in self.running.values() if child.part.label == label]
            for child in children:
                child.process.terminate()
            deadline = time.monotonic() + max((child.part.grace_s for child in children), default=0.0)
            while any(child.process.poll() is None for child in children) and time.monotonic() < deadline:
                if len(self._stops) > requested:
                    self._say("Killing what is left.")
                    self.kill()
                    return
                time.sleep(POLL_S)
            for child in children:
                how = "did not stop in time: killed" if child.process.poll() is None else "stopped"
                child.process.kill()
                child.process.wait()
                self._say.step(label, f"{child.part.name} {how}")
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
        child, again = self.running.get(part.name), part.name in self._ready
        if child is None:
            due = time.monotonic() > self._due.get(part.name, 0.0) and not (part.once and again)
            if due and self._ready.issuperset(part.after):
                self._start(part)
            return
        code = child.process.poll()
        if code is not None:
            del self.running[part.name]
        if part.once and code is None:
            return
        if code is not None and not (part.once and code == 0):
            self._ended(child, code)
        elif not child.ready:
            with contextlib.suppress(redis.RedisError):  # the broker does not answer yet
                child.ready = part.ready(child)
            if child.ready:
                self._ready.add(part.name)
                again_as = f"{part.name} is back (process {child.process.pid})"
                self._say.step(part.label, again_as if again else child.ready)

    def _start(self, part: Part) -> None:
        try:
            child = Child(part, folder=self._folder, env=self._env, process_group=self._keeper.pid)
        except OSError as error:
            raise Unavailable(f"{part.name} can't be started: {error}") from error
        self.running[part.name] = child

    def _ended(self, child: Child, code: int) -> None:
        part = child.part
        names = {number.value: number.name for number in signal.Signals}
        how = f"exit code {code}" if code >= 0 else f"ended by {names.get(-code, -code)}"
        if not child.ready and (reason := part.again()):
            self._say.step(part.label, reason)
            return
        self._show_log(child)
        if part.name not in self._ready:
            raise Unavailable(f"{part.name} ended while it started ({how}); its last lines are above")
        if part.vital:
            raise Unavailable(f"the {part.name} ended ({how}), and its queues with it; its last lines are above")
        self._due[part.name] = time.monotonic() + RESTART_DELAY_S
        self._say.step(part.label, f"{part.name} ended ({how}); starting it again")

    def _show_log(self, child: Child | None) -> None:
        for line in child.last_lines() if child else ():
            self._say(f"         {child.part.name if child else ''} | {line}")


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """While open, SIGINT, SIGTERM and SIGHUP do not end the process: they are in this list."""
    stops: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: stops.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # nohup: the user wants it to outlive the terminal
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
