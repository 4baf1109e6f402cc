"""Workers that freeze, die, restart, hide or share a name: when a pause is called safe, nothing runs until its end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.services import Valkey
from support.ticking_app import make_app
from support.workers import Worker, worker

from opsdash.services.console import Console
from opsdash.services.pause.verdict import verdict

SCHEDULES = int(os.environ.get("OPSDASH_TEST_SCHEDULES", "20"))
"""200 of them take three quarters of an hour."""
WATCHED_S = 9.0
"""For how long the verdict is asked after the pause; a report is silent after some 6 s."""
AFTER_S = 1.5
"""How long what was frozen may go on in the end, before the resume."""
PREVIOUS_RUN_S = 0.05
"""A tick that was being written when the verdict was made."""


@dataclass(frozen=True)
class Member:
    """One worker of a schedule."""

    pool: str
    plugin: bool
    remote: bool
    name: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "TICKING_PLUGIN": "yes" if self.plugin else "no",
            "TICKING_REMOTE": "on" if self.remote else "off",
        }


@dataclass(frozen=True)
class Schedule:
    """What happens when, in seconds; the pause comes at 0.

    Attributes:
        events: When, what and to which worker: ``STOP``, ``CONT``, ``TERM``, ``KILL``, or ``start`` of a member.
    """

    members: tuple[Member, ...]
    tasks: tuple[tuple[str, float], ...]
    events: tuple[tuple[float, str, int], ...]


def schedule(seed: int) -> Schedule:
    """The same for the same seed."""
    chance = random.Random(seed)
    number = chance.randint(1, 3)
    # Mostly such as can become safe: where none can, the verdict can't be wrong either.
    shared = chance.random() < 0.12
    remote = chance.random() < 0.88
    members = tuple(
        Member(
            pool=chance.choice(("threads", "threads", "prefork", "solo")),
            plugin=chance.random() < 0.92,
            remote=remote if chance.random() < 0.94 else not remote,
            name="same" if shared else f"w{n}",
        )
        for n in range(number)
    )
    tasks = tuple(
        (chance.choice(("ticking.early", "ticking.late")), chance.choice((0.05, 0.1, 0.5, 2.0, 4.0)))
        for _ in range(chance.randint(0, 14))
    )
    events: list[tuple[float, str, int]] = []
    for _ in range(chance.randint(0, 3)):
        at, which = chance.uniform(-1.5, 4.0), chance.randrange(number)
        what = chance.choice(("STOP", "STOP", "KILL", "TERM", "restart"))
        if what == "STOP":
            events.append((at, "STOP", which))
            if chance.random() < 0.6:
                events.append((at + chance.uniform(0.5, 7.0), "CONT", which))
        elif what == "restart":
            events.append((at, chance.choice(("KILL", "TERM")), which))
            # One without the plug-in that comes after a verdict is news, and makes no verdict wrong.
            if members[which].plugin:
                events.append((at + chance.uniform(0.1, 2.0), "start", which))
        else:
            events.append((at, what, which))
    return Schedule(members, tasks, tuple(sorted(events)))


class Stage:
    """The workers of a schedule, and what they wrote down."""

    def __init__(self, server: Valkey, record: Path, stack: contextlib.ExitStack) -> None:
        self._server, self._record, self._stack = server, record, stack
        record.touch()
        self.running: dict[int, list[Worker]] = {}

    def start(self, number: int, member: Member) -> Worker:
        env = {"OPSDASH_REDIS_URL": self._server.url, "TICKING_FILE": str(self._record), **member.env}
        made = self._stack.enter_context(
            worker(
                "support.ticking_app:app",
                member.pool,
                concurrency=2,
                env=env,
                wait=False,
                arguments=["-n", f"{member.name}@test"],
            )
        )
        self.running.setdefault(number, []).append(made)
        return made

    def tell(self, number: int, name: str) -> None:
        for one in self.running.get(number, ()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if name == "TERM":
                    os.kill(one.pid, signal.SIGTERM)
                else:
                    os.killpg(one.pid, signal.Signals[f"SIG{name}"])

    def thaw(self) -> None:
        for number in self.running:
            self.tell(number, "CONT")

    def ticks(self) -> list[float]:
        return [float(line.split()[0]) for line in self._record.read_text().splitlines() if line.count(" ") == 3]


def play(made: Schedule, server: Valkey, record: Path, console: Console) -> tuple[list[float], list[float]]:
    """Plays it; when the verdict was safe, and every moment in which a task ran, while the pause stood."""
    safe: list[float] = []
    with contextlib.ExitStack() as stack:
        stage = Stage(server, record, stack)
        for number, member in enumerate(made.members):
            stage.start(number, member)
        for number in stage.running:
            for one in stage.running[number]:
                one.wait_for_log(" ready.", timeout_s=40)
        app = stack.enter_context(contextlib.closing(make_app(server.url, broker_pool_limit=0)))
        with app.connection_for_write() as connection:
            for name, seconds in made.tasks:
                app.send_task(name, [seconds], connection=connection)
        stack.callback(stage.thaw)
        began = time.monotonic() + max(0.3, -min([at for at, _, _ in made.events], default=0.0))
        events, paused = list(made.events), False
        while (now := time.monotonic() - began) < WATCHED_S or events:
            while events and events[0][0] <= now:
                _, what, which = events.pop(0)
                if what == "start":
                    stage.start(which, made.members[which])
                else:
                    stage.tell(which, what)
            if now >= 0 and not paused:
                console.pause.pause(None, by="maria", reason="", ttl_s=600)
                paused = True
            if paused:
                console.unmanaged.look()
                at = time.time()  # what a worker still ran while others were asked is no fault of the verdict
                found = verdict(console.snapshot())
                assert found is not None
                if found.safe:
                    safe.append(at)
            time.sleep(0.1)
        stage.thaw()
        time.sleep(AFTER_S)
        ticks = stage.ticks()
    return safe, ticks


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_whenever_a_pause_is_called_safe_nothing_runs_until_its_end(
    valkey: Valkey, tmp_path: Path, console_for: Callable[..., Console], seed: int
) -> None:
    made = schedule(seed)
    safe, ticks = play(made, valkey, tmp_path / "record", console_for())
    if safe:
        later = [tick for tick in ticks if tick > safe[0] + PREVIOUS_RUN_S]
        assert not later, f"{len(later)} moments, first {later[0] - safe[0]:.1f} s after it was called safe: {made}"


QUIET = Schedule(
    (Member("threads", True, True, "w0"), Member("prefork", True, True, "w1")), (("ticking.early", 0.5),) * 9, ()
)


@pytest.mark.slow
def test_workers_that_all_report_and_have_stopped_are_called_safe(
    valkey: Valkey, tmp_path: Path, console_for: Callable[..., Console]
) -> None:
    safe, ticks = play(QUIET, valkey, tmp_path / "record", console_for())
    assert safe, "a verdict that is never safe says nothing"
    assert max(ticks) < safe[0]
