"""Starts the parts of the demo, watches them, and stops them in order, whatever happens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from opsdash.demo.child import Child, Part, describe_exit
from opsdash.demo.deployment import Deployment
from opsdash.demo.lifeline import Lifeline
from opsdash.demo.progress import Progress
from opsdash.demo.signals import Signals
from opsdash.errors import Unavailable

START_TIMEOUT_S = 60.0
START_TRIES = 3
RESTARTS, RESTARTS_WITHIN_S = 5, 120.0
RESTART_DELAY_S = 2.0
POLL_S, RESTART_POLL_S = 0.05, 0.2
IDLE_S = 1.0


class Supervisor:
    """Runs the parts of one demo. Single-threaded: signals and ended children wake it, nothing else happens at once.

    Args:
        parts: In the order of starting.
        demo: Gives each process its environment.
    """

    def __init__(
        self, parts: Sequence[Part], *, demo: Deployment, lifeline: Lifeline, progress: Progress, signals: Signals
    ) -> None:
        self.parts = parts
        self.running: dict[str, Child] = {}
        self._demo = demo
        self._lifeline = lifeline
        self._progress = progress
        self._signals = signals
        self._ready: set[str] = set()
        self._tries: dict[str, int] = {}
        self._ends: dict[str, deque[float]] = {part.name: deque(maxlen=RESTARTS) for part in parts}
        self._due: dict[str, float] = {}

    def start(self) -> bool:
        """Starts everything, each part as soon as what it needs is ready. False: somebody asked to stop meanwhile.

        Raises:
            Unavailable: A part ended, or nothing was ready in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(self._ready) < len(self.parts):
            for part in self.parts:
                if (
                    part.name not in self.running
                    and part.name not in self._ready
                    and self._ready.issuperset(part.after)
                ):
                    self._spawn(part)
            for child in list(self.running.values()):
                self._look(child)
            missing = [part.name for part in self.parts if part.name not in self._ready]
            if time.monotonic() > deadline:
                self._show_log(self.running.get(missing[0]))
                raise Unavailable(
                    f"the demo was not ready after {START_TIMEOUT_S:.0f} s: no sign of {', '.join(missing)}"
                )
            self._progress.waiting(missing)
            if missing:
                self._signals.wait(POLL_S)
            if self._signals.stops:
                return False
        return True

    def watch(self) -> None:
        """Returns when somebody asks to stop; starts again what ends before that.

        Raises:
            Unavailable: The broker ended, or another part keeps ending.
        """
        while not self._signals.stops:
            self._lifeline.check()
            for child in list(self.running.values()):
                code = child.exit_code()
                if code is not None:
                    self._forget(child)
                    self._plan_restart(child, code)
                elif not child.ready and child.part.ready(child):
                    child.ready = True
                    self._progress.step(child.part.label, f"{child.part.name} is back (process {child.pid})")
            for name in [name for name, due in self._due.items() if due <= time.monotonic()]:
                del self._due[name]
                self._spawn(next(part for part in self.parts if part.name == name))
            waking = [due - time.monotonic() for due in self._due.values()]
            coming = any(not child.ready and not child.part.once for child in self.running.values())
            self._signals.wait(min([RESTART_POLL_S if coming else IDLE_S, *waking]))

    def stop(self) -> None:
        """Stops everything in the reverse order; another request to stop meanwhile kills what is left at once.

        Parts of one label (the workers) get their grace together.
        """
        asked = self._signals.stops
        for label in dict.fromkeys(part.label for part in reversed(self.parts)):
            children = [child for child in self.running.values() if child.part.label == label]
            for child in children:
                child.terminate()
            deadline = time.monotonic() + max((child.part.grace_s for child in children), default=0.0)
            while any(child.exit_code() is None for child in children) and time.monotonic() < deadline:
                if self._signals.stops > asked:
                    self._progress.line("Killing what is left.")
                    self.kill()
                    return
                self._signals.wait(deadline - time.monotonic())
            for child in children:
                late = child.exit_code() is None
                self._end(child)
                self._progress.step(label, f"{child.part.name} {'did not stop in time: killed' if late else 'stopped'}")

    def kill(self) -> None:
        """Ends everything now."""
        for child in list(self.running.values()):
            self._end(child)

    def _end(self, child: Child) -> None:
        child.kill()
        self._forget(child)

    def _spawn(self, part: Part) -> None:
        self._tries[part.name] = self._tries.get(part.name, 0) + 1
        try:
            child = Child(part, env=self._demo.env(), folder=self._demo.folder.path)
        except OSError as error:
            raise Unavailable(f"{part.name} can't be started: {error}") from error
        self.running[part.name] = child
        self._lifeline.started(child.pid)

    def _forget(self, child: Child) -> None:
        self.running.pop(child.part.name, None)
        self._lifeline.ended(child.pid)

    def _look(self, child: Child) -> None:
        """One look at a child during the start: is it ready, is it dead?"""
        part, code = child.part, child.exit_code()
        if code is not None:
            self._forget(child)
            if not (part.once and code == 0):
                self._died_early(child, code)
                return
        elif child.ready or part.once:
            return
        said = part.ready(child)
        if said:
            child.ready = True
            self._ready.add(part.name)
            self._progress.step(part.label, said)

    def _died_early(self, child: Child, code: int) -> None:
        part = child.part
        reason = part.again() if self._tries[part.name] < START_TRIES else None
        if reason and part.name not in self._ready:
            self._progress.step(part.label, reason)
            return
        self._show_log(child)
        when = "right after its start" if child.ready else "while it started"
        raise Unavailable(f"{part.name} ended {when} ({describe_exit(code)}); its last lines are above")

    def _plan_restart(self, child: Child, code: int) -> None:
        part, ends, now = child.part, self._ends[child.part.name], time.monotonic()
        self._show_log(child)
        if not part.keeps_going:
            raise Unavailable(
                f"the {part.name} ended ({describe_exit(code)}), and its queues with it; its last lines are above"
            )
        ends.append(now)
        if len(ends) == RESTARTS and now - ends[0] < RESTARTS_WITHIN_S:
            raise Unavailable(f"{part.name} ended {RESTARTS} times in {now - ends[0]:.0f} s ({describe_exit(code)})")
        self._due[part.name] = now + RESTART_DELAY_S  # long enough to see on the page what its end looks like
        self._progress.step(part.label, f"{part.name} ended ({describe_exit(code)}); starting it again")

    def _show_log(self, child: Child | None) -> None:
        for line in child.last_lines() if child else ():
            self._progress.line(f"         {child.part.name if child else ''} | {line}")
