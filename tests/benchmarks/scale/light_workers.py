"""Hundreds of workers in one process: Celery's own consumer with opsdash's plug-in, turned by one loop.

    python -m benchmarks.scale.light_workers URL NUMBER FIRST QUEUES EACH

Each of them is a ``celery.worker.consumer.Consumer`` with the steps that talk to the broker (connection, tasks, remote
control, the plug-in) and their own connections, so what is written to Redis is written by Celery and by the plug-in
themselves. Three things are not a worker's: the loop, which is one for all; the pool, in which a task is over as it
starts; and the plug-in's listener, which that loop turns when its socket has something or its time has come, in place
of a thread each. Not there: mingle, gossip, heartbeat events (``celery worker --without-mingle --without-gossip
--without-heartbeat``), which the console does not hear, and the sockets for the container's own commands.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any

from celery import Celery
from celery.concurrency.thread import ApplyResult, TaskPool
from celery.utils.timer2 import Timer
from celery.worker import state
from celery.worker.consumer import Consumer

from opsdash.worker import bootstep, local_server, watcher
from opsdash.worker.connection import LINK_ERRORS

from .light_app import make_app

CONCURRENCY = 4
QUIET = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}
AT_ONCE = 3
"""Turns of a listener that follow one another."""
LOOP = "Evloop"
"""The step that would run a worker's own loop."""


class LightWatch(watcher.FlagWatch):
    """The plug-in's listener, turned from outside."""

    made: LightWatch | None = None
    _turning = False

    def start(self) -> None:
        """It has no thread."""
        LightWatch.made = self

    def turn(self) -> None:
        """Comes round once for what has come, and at least once."""
        self._turning = True
        try:
            while True:
                self._turn()
                if self._pubsub is None or not self._pubsub.connection.can_read(timeout=0):
                    break
        except LINK_ERRORS:
            self._broken = True
        finally:
            self._turning = False
            self.turned_at = time.monotonic()

    @property
    def socket(self) -> Any:
        """Where nudges come in; None while it is not connected."""
        return None if self._pubsub is None else self._pubsub.connection._sock

    @property
    def due_s(self) -> float:
        """Seconds until it must come round."""
        return super()._timeout_s()

    def _timeout_s(self) -> float:
        return 0.0 if self._turning else super()._timeout_s()


class LightServer(local_server.LocalServer):
    """The place of a container's commands, where nobody listens."""

    def open(self) -> None:
        """It has no thread."""


class LightPool(TaskPool):
    """A pool of threads that has none: each task is over as it starts, and has done nothing."""

    def on_apply(self, target: Any, args: Any = None, kwargs: Any = None, callback: Any = None, **more: Any) -> Any:
        """Says of a task that it was accepted, and that it has ended."""
        if accepted := more.get("accept_callback"):
            accepted(self.limit, time.time())
        if callback is not None:
            callback((0, None, 0.0))
        over: Future[None] = Future()
        over.set_result(None)
        return ApplyResult(over)


# The plug-in takes a pool's name from the module of its class.
LightPool.__module__ = TaskPool.__module__


class LightWorker:
    """One worker: Celery's consumer and the plug-in, started as Celery starts them, but for the loop."""

    def __init__(self, app: Celery, hostname: str) -> None:
        self.consumer = Consumer(
            self._run,
            hostname=hostname,
            pool=LightPool(CONCURRENCY, app=app),
            app=app,
            timer=Timer(),
            controller=SimpleNamespace(use_eventloop=False, semaphore=None, app=app, hostname=hostname, state=state),
            initial_prefetch_count=CONCURRENCY * 4,
            worker_options=QUIET,
        )
        for step in self.consumer.steps:
            if step.name != LOOP:
                step.start(self.consumer)
        assert LightWatch.made is not None, "the plug-in did not start"
        self.watch = LightWatch.made
        self.consumer.task_consumer.consume()
        self.turn()

    def turn(self) -> None:
        """The listener's turn, and then the loop's."""
        self.watch.turn()
        self.consumer.perform_pending_operations()
        self.ask()

    def heed(self) -> None:
        """The broker has sent something: a task, or a question."""
        with contextlib.suppress(TimeoutError):  # the reply to a BRPOP that found nothing
            self.consumer.connection.drain_events(timeout=0)
        self.consumer.perform_pending_operations()
        self.ask()

    def ask(self) -> None:
        """Sends for the next message, as kombu does at the start of each turn of its loop."""
        cycle = self._cycle
        for channel in cycle._channels:
            if channel.active_queues and channel.qos.can_consume():
                cycle._register_BRPOP(channel)
            if channel.active_fanout_queues:
                cycle._register_LISTEN(channel)

    @property
    def poller(self) -> int:
        """The file that becomes readable when the broker has sent something."""
        return int(self._cycle.poller._epoll.fileno())

    @property
    def _cycle(self) -> Any:
        return self.consumer.connection.transport.cycle

    def _run(self, request: Any) -> None:
        request.execute_using_pool(self.consumer.pool)


class Crowd:
    """Workers that one loop turns.

    Args:
        on_ready: Is called when all of them report.
    """

    def __init__(self, url: str, hosts: Sequence[tuple[str, Sequence[str]]], on_ready: Callable[[], None]) -> None:
        bootstep.FlagWatch = LightWatch  # type: ignore[misc]
        bootstep.LocalServer = LightServer  # type: ignore[misc]
        self._selector, self._order = selectors.DefaultSelector(), itertools.count()
        self._due: list[tuple[float, int, LightWorker]] = []
        self._next: dict[LightWorker, float] = {}
        self._sockets: dict[LightWorker, Any] = {}
        apps: dict[tuple[str, ...], Celery] = {}
        for hostname, queues in hosts:
            if tuple(queues) not in apps:
                apps[tuple(queues)] = make_app(url, queues)
            worker = LightWorker(apps[tuple(queues)], hostname)
            self._selector.register(worker.poller, selectors.EVENT_READ, worker.heed)
            self._hear(worker)
            self.turn(0)  # those that are there already must go on reporting
        on_ready()

    def turn(self, wait_s: float) -> None:
        """Does what is due now, after waiting for it so long at most."""
        if self._due:
            wait_s = max(0.0, min(wait_s, self._due[0][0] - time.monotonic()))
        for key, _ in self._selector.select(wait_s):
            key.data()
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            at, _, worker = heapq.heappop(self._due)
            if at == self._next.get(worker):  # else it was put forward
                self._hear(worker)

    def _hear(self, worker: LightWorker) -> None:
        worker.turn()
        for _ in range(AT_ONCE):
            if worker.watch.due_s > 0:
                break
            worker.turn()  # what was applied is reported at once
        self._watch_socket(worker)
        self._next[worker] = at = time.monotonic() + worker.watch.due_s
        heapq.heappush(self._due, (at, next(self._order), worker))

    def _watch_socket(self, worker: LightWorker) -> None:
        now, before = worker.watch.socket, self._sockets.get(worker)
        if now is before:
            return
        if before is not None:
            self._selector.unregister(before)
        if now is not None:
            self._selector.register(now, selectors.EVENT_READ, partial(self._hear, worker))
        self._sockets[worker] = now


def served_by(number: int, queues: int, each: int) -> list[str]:
    """The queues of worker ``number``: ``each`` of them, spread so that every queue has its workers."""
    return [f"queue{(number * each + one) % queues:03}" for one in range(min(each, queues))]


def main(words: Sequence[str]) -> None:
    """Workers that report until this process is ended; prints a line once all are there."""
    url, number, first, queues, each = words[0], *map(int, words[1:])
    hosts = [(f"light{n:04}@scale", served_by(n, queues, each)) for n in range(first, first + number)]
    crowd = Crowd(url, hosts, on_ready=lambda: print("ready", flush=True))
    while True:
        crowd.turn(0.5)


if __name__ == "__main__":
    main(sys.argv[1:])
