"""Operations on workers' pools while Redis or the database goes away within them: what is said afterwards is true.

`test_console_steps` has the same between the steps of ``Console.run``. Here it happens between the commands of one act:
before a question, after the command was published, before the answer is read.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from support.deployment import Deployment, deploy
from support.services import Postgres, Valkey, until
from support.workers import Worker, eventually, worker

import opsdash
from opsdash.errors import OpsdashError
from opsdash.model import Actor, Role, Status
from opsdash.operation import Operation
from opsdash.services.audit import reaper
from opsdash.services.console import Console
from opsdash.services.workers import time_limits
from opsdash.services.workers.remote_control import Remote

BOSS = Actor(name="boss", role=Role.ADMIN, surface="python")
BOUND_S = 25.0
"""No act takes longer, whatever goes away: a wait for Redis is two seconds, for workers one, for the database a few."""
POINTS = (
    "before the question",
    "before the command",
    "before the command is published",
    "after the command is published",
    "after the answers",
)
FAULTS = ("restarted", "emptied", "cut", "paused", "frozen", "database gone", "both gone")


@dataclass
class Outage:
    """What goes away, once, at one point of an act."""

    fault: str
    valkey: Valkey
    postgres: Postgres

    def happen(self) -> None:
        if self.fault in ("restarted", "emptied"):
            (self.valkey.kill if self.fault == "emptied" else self.valkey.stop)()
            self.valkey.start()
        elif self.fault in ("cut", "paused"):
            with redis.Redis.from_url(self.valkey.url) as client:
                if self.fault == "paused":
                    client.client_pause(3_500)
                else:
                    client.client_kill_filter(skipme=True, _type="normal")
                    client.client_kill_filter(skipme=True, _type="pubsub")
        elif self.fault == "frozen":
            self.valkey.freeze()
        if self.fault in ("database gone", "both gone"):
            self.postgres.stop()
        if self.fault == "both gone":
            self.valkey.stop()

    def end(self) -> None:
        self.valkey.restore()
        self.postgres.restore()


def at(point: str, fire: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """From now on ``fire`` is called, once, when an act comes to this point."""
    fired: list[str] = []
    telling = threading.Event()

    def here(name: str) -> None:
        if name == point and not fired:
            fired.append(name)
            fire()

    ask, tell, publish = Remote.ask, Remote.tell, redis.Redis.publish

    def asking(self: Remote, *args: Any) -> Any:
        here("before the question")
        return ask(self, *args)

    def commanding(self: Remote, *args: Any, **more: Any) -> Any:
        here("before the command")
        telling.set()
        try:
            answers = tell(self, *args, **more)
        finally:
            telling.clear()
        here("after the answers")
        return answers

    def publishing(self: Any, *args: Any, **more: Any) -> Any:
        if telling.is_set():
            here("before the command is published")
        done = publish(self, *args, **more)
        if telling.is_set():
            here("after the command is published")
        return done

    patch.setattr(Remote, "ask", asking)
    patch.setattr(Remote, "tell", commanding)
    patch.setattr(redis.Redis, "publish", publishing)


@dataclass
class Scene:
    """An act that has something to do, and how to see whether it was done."""

    operation: Operation
    done: Callable[[Console], bool]


def answer(console: Console, question: str, host: str) -> Any:
    """What the worker itself says, once it has found its broker again."""
    said: list[Any] = []

    def heard() -> bool:
        with contextlib.suppress(OpsdashError):
            said.extend(console.services.remote.ask(question, [host]).values())
        return bool(said)

    eventually(heard, what="the worker's answer", timeout_s=30)
    return said[0]


def scene(name: str, console: Console, w: Worker) -> Scene:
    host = w.hostname
    if name == "resize_pool":
        return Scene(
            opsdash.ResizePool(hostname=host, size=3),
            lambda later: answer(later, "stats", host)["opsdash"]["concurrency"] == 3,
        )
    if name == "autoscale":
        return Scene(
            opsdash.Autoscale(hostname=host, most=6, least=2),
            lambda later: answer(later, "stats", host)["autoscaler"]["max"] == 6,
        )
    if name == "restart_pool":
        return Scene(
            opsdash.RestartPool(hostname=host),
            lambda _later: until(lambda: "pidbox received method pool_restart" in w.log, timeout_s=6),
        )
    if name == "shutdown_worker":
        return Scene(opsdash.ShutdownWorker(hostname=host), lambda _later: until(lambda: not w.running, timeout_s=8))

    def limited(later: Console) -> bool:
        answer(later, "ping", host)
        found, _ = time_limits.read(later.services.remote, later.services.pools.choose(host).pools, "sample.short")
        return found[host].hard_s == 60

    return Scene(opsdash.SetTimeLimit(task="sample.short", hard_s=60), limited)


NAMES = ("resize_pool", "autoscale", "restart_pool", "shutdown_worker", "set_time_limit")


@pytest.fixture
def deployment(valkey: Valkey) -> Iterator[Deployment]:
    with deploy(valkey) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("name", "point", "fault"), list(itertools.product(NAMES, POINTS, FAULTS)))
def test_whatever_goes_away_within_an_act_on_a_pool_what_is_said_of_it_is_true(
    deployment: Deployment,
    console_for: Callable[..., Console],
    postgres: Postgres,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    point: str,
    fault: str,
) -> None:
    outage = Outage(fault, deployment.server, postgres)
    scaled = ["--autoscale=4,2"] if name == "autoscale" else []
    env = {**deployment.env, "SAMPLE_POOL_RESTARTS": "yes"}
    with worker(env=env, queues=["celery"], arguments=["-l", "DEBUG", *scaled]) as w:
        console = console_for(database_url=postgres_url, queues=("celery",))
        eventually(lambda: w.hostname in console.get_active_workers(), what="it reports")
        act = scene(name, console, w)
        with pytest.MonkeyPatch.context() as patch:
            at(point, outage.happen, patch)
            began_s, said = time.monotonic(), ""
            try:
                said = console.run(act.operation, actor=BOSS, confirm="YES").message
            except OpsdashError as error:
                said = f"{type(error).__name__}: {error}"
            took_s = time.monotonic() - began_s
        outage.end()
        later = settled(console_for, postgres_url, monkeypatch)
        done = act.done(later)
        entries = [one for one in later.get_recent_operations(50) if one.operation == name]
        print(f"{name}, {point}, {fault}: {took_s:.1f} s, done: {done}, {[e.status.value for e in entries]}, {said}")
        assert took_s < BOUND_S
        (entry,) = entries
        assert entry.status in (
            {Status.SUCCESS, Status.UNKNOWN} if done else {Status.FAILURE, Status.REFUSED, Status.UNKNOWN}
        )
        assert ("Nothing was changed" in said) <= (not done)
        assert later.audit.verify().ok


def settled(console_for: Callable[..., Console], url: str, patch: pytest.MonkeyPatch) -> Console:
    """Another console, half a minute later, that has looked three times."""
    later = console_for(database_url=url, queues=("celery",))
    for key in later.broker.client.scan_iter("opsdash:running:*"):
        later.broker.client.delete(key)
    patch.setattr(reaper, "LOOK_S", 0.0)
    patch.setattr(reaper, "ALIVE_S", -5)
    for _ in range(3):
        later.snapshot()
    return later
