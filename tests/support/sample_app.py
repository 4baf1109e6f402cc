"""A Celery app whose tasks tell when they began: what the tests of the worker plug-in run for real.

Environment: ``OPSDASH_REDIS_URL`` the broker (``SAMPLE_MASTER``: its name at the sentinels), ``SAMPLE_KEYPREFIX`` its
``global_keyprefix``, ``SAMPLE_OPTIONS`` JSON of more transport options, ``SAMPLE_TLS`` of ``broker_use_ssl``,
``SAMPLE_RECORDS_URL`` where the records go when the broker isn't one plain Redis,
``SAMPLE_RESULTS=yes`` keeps results in the broker, ``SAMPLE_PLUGIN=no`` leaves opsdash out (for
``-I opsdash.worker.auto``), ``SAMPLE_BREAK`` breaks something on purpose (``clock``: by as many
seconds as the file ``SAMPLE_CLOCK`` says), ``SAMPLE_EXPIRES`` has the queue ``emails`` expire after so many seconds,
``SAMPLE_TOPICS=yes`` adds two queues on a topic exchange, ``SAMPLE_HOOK=exists`` asks Redis before each task,
``SAMPLE_REMOTE_CONTROL=off`` answers no remote control, ``SAMPLE_POOL_RESTARTS=yes`` lets the pool be restarted,
``SAMPLE_POLL_S`` is how often the plug-in reads and reports, in place of its own ``POLL_S``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from celery.exceptions import Ignore, Reject
from celery.signals import worker_process_init
from kombu import Exchange, Queue
from kombu.common import Broadcast

import opsdash.worker

STARTED = "sample:started"
"""Redis list: JSON ``[task id, start time, name, argument, worker]`` of every start, in order."""
ACCEPTING = "sample:accepting"
"""Redis list: ids of tasks that a worker with ``SAMPLE_BREAK=slow-accept`` has accepted, a second before they start."""
UNREADABLE = "sample:unreadable"
"""Redis key: while it exists, workers with ``SAMPLE_BREAK=unreadable`` can't read the flags."""
RECORDER = "recorder"
"""Name of the connections that the tasks write these with; a test that cuts connections spares them."""
PRIORITY_STEPS = [0, 3, 6, 9]
WORKER_PID = os.getpid()
"""Prefork's children have the worker's."""


ORDERS = Exchange("orders", type="topic")
TOPIC_QUEUES = [Queue("billing", ORDERS, routing_key="order.#"), Queue("stock", ORDERS, routing_key="order.*")]
"""Both get a copy of what is sent to ``ORDERS`` with the key ``order.new``."""


def make_app(broker_url: str, keyprefix: str = "", master_name: str = "", **more: Any) -> Celery:
    """The app, for a worker or for whoever sends tasks; ``more`` are transport options."""
    options: dict[str, Any] = {}
    if broker_url.startswith(("redis", "sentinel")):
        options = {"priority_steps": PRIORITY_STEPS, "queue_order_strategy": "priority"}
        if keyprefix:
            options["global_keyprefix"] = keyprefix
        if master_name:
            options["master_name"] = master_name
        options |= more
    made = Celery("sample", broker=broker_url, set_as_current=False)
    made.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options=options,
        task_queues=[
            Queue("celery"),
            Queue("emails", expires=float(os.environ.get("SAMPLE_EXPIRES") or 0) or None),
            Queue("reports"),
            Broadcast("news"),
        ],
        task_default_queue="celery",
        task_routes={"sample.broadcast": {"queue": "news", "exchange": "news"}},
    )
    return made


broker_url = os.environ.get("OPSDASH_REDIS_URL", "redis://localhost:6379/0")
records_url = os.environ.get("SAMPLE_RECORDS_URL", broker_url)
app = make_app(
    broker_url,
    os.environ.get("SAMPLE_KEYPREFIX", ""),
    os.environ.get("SAMPLE_MASTER", ""),
    **json.loads(os.environ.get("SAMPLE_OPTIONS", "{}")),
)
if os.environ.get("SAMPLE_TLS"):
    app.conf.broker_use_ssl = json.loads(os.environ["SAMPLE_TLS"])
if os.environ.get("SAMPLE_TOPICS") == "yes":
    app.conf.task_queues += TOPIC_QUEUES
if os.environ.get("SAMPLE_RESULTS") == "yes":
    app.conf.result_backend = broker_url
if os.environ.get("SAMPLE_POLL_S"):
    from opsdash.worker import watcher  # here: the last release, which tests run beside this build, has none

    watcher.POLL_S = float(os.environ["SAMPLE_POLL_S"])
app.conf.worker_pool_restarts = os.environ.get("SAMPLE_POOL_RESTARTS") == "yes"
if os.environ.get("SAMPLE_PLUGIN") != "no":
    opsdash.worker.install(app)


if os.environ.get("SAMPLE_REMOTE_CONTROL") == "off":
    app.conf.worker_enable_remote_control = False
if os.environ.get("SAMPLE_HOOK") == "exists":
    # What people write today: one round trip to Redis before each task.
    from celery.signals import task_prerun

    @task_prerun.connect(weak=False)
    def _ask(**_: Any) -> None:
        _records(os.getpid()).exists("system:pause_processing")


@cache
def _records(pid: int) -> redis.Redis:
    """One client per process: a connection must not be shared over a fork."""
    return redis.Redis.from_url(records_url, client_name=RECORDER)


def _record(started: float, task: Any, argument: Any) -> None:
    line = json.dumps([task.request.id, started, task.name, argument, task.request.hostname])
    _records(os.getpid()).rpush(STARTED, line)


@app.task(name="sample.short", bind=True)
def short(self: Any, argument: Any = None, seconds: float = 0.005) -> None:
    started = time.time()
    _record(started, self, argument)
    time.sleep(seconds)


@app.task(name="sample.nothing")
def nothing() -> None:
    """What a task costs that does nothing."""


@app.task(name="sample.late", bind=True, acks_late=True)
def late(self: Any, argument: Any = None, seconds: float = 0.005) -> None:
    started = time.time()
    _record(started, self, argument)
    time.sleep(seconds)


@app.task(name="sample.limited", bind=True, rate_limit="2/s")
def limited(self: Any, argument: Any = None) -> None:
    started = time.time()
    _record(started, self, argument)


@app.task(name="sample.step", bind=True, ignore_result=False)
def step(self: Any, *arguments: Any) -> Any:
    started = time.time()
    _record(started, self, arguments)
    time.sleep(0.02)
    return arguments[0]


@app.task(name="sample.gather", bind=True, ignore_result=False)
def gather(self: Any, results: list[Any]) -> int:
    started = time.time()
    _record(started, self, results)
    return len(results)


@app.task(name="sample.flaky", bind=True, max_retries=10)
def flaky(self: Any, argument: Any = None, failures: int = 1, countdown: float = 0.1, seconds: float = 0.0) -> None:
    started = time.time()
    _record(started, self, argument)
    time.sleep(seconds)
    if self.request.retries < failures:
        raise self.retry(countdown=countdown)


@app.task(name="sample.bounded", bind=True)
def bounded(self: Any, argument: Any = None, seconds: float = 1.0) -> None:
    started = time.time()
    _record(started, self, argument)
    time.sleep(seconds)


@app.task(name="sample.ends", bind=True)
def ends(self: Any, argument: Any = None, how: str = "well") -> None:
    started = time.time()
    _record(started, self, argument)
    if how == "exit":
        os._exit(3)
    if how == "retry" and not self.request.retries:
        raise self.retry(countdown=0)
    errors = {
        "ignore": Ignore(),
        "reject": Reject("no"),
        "requeue": Reject("no", requeue=True),
        "error": ValueError("on purpose"),
    }
    if how in errors:
        raise errors[how]


@app.task(name="sample.fails")
def fails(argument: Any = None) -> None:
    """What a failure costs of a task that does nothing else."""
    raise ValueError(f"no good: {argument}")


@app.task(name="sample.until_mended", bind=True, max_retries=1, default_retry_delay=0, autoretry_for=(ConnectionError,))
def until_mended(self: Any, argument: Any = None) -> None:
    """Fails, with its last try, until the key that a test sets says that what it needs is there again."""
    started = time.time()
    if not _records(os.getpid()).exists("sample:mended"):
        raise ConnectionError("not yet")
    _record(started, self, argument)


@app.task(name="sample.fails_late", acks_late=True)
def fails_late(argument: Any = None) -> None:
    raise ValueError(f"no good: {argument}")


@app.task(name="sample.leaks")
def leaks(argument: Any = None, password: str = "", **_: Any) -> None:
    """Says more than it should."""
    try:
        {}[password]
    except KeyError as error:
        raise LookupError(f"{argument} has no access with {password}, nor postgres://me:{argument}@db/x") from error


@app.task(name="sample.tries", bind=True, autoretry_for=(ConnectionError,), max_retries=2, default_retry_delay=0)
def tries(self: Any, argument: Any = None) -> None:
    started = time.time()
    _record(started, self, argument)
    raise ConnectionError("nobody there")


@app.task(name="sample.kills", bind=True, acks_late=True, reject_on_worker_lost=True)
def kills(self: Any, argument: Any = None, how: str = "child") -> None:
    """Takes its process with it, each time: prefork's child, or the worker with all of its children."""
    started = time.time()
    _record(started, self, argument)
    if how == "worker" and os.getpid() != WORKER_PID:
        os.kill(WORKER_PID, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="sample.survives", bind=True, acks_late=True, reject_on_worker_lost=True)
def survives(self: Any, argument: Any = None) -> None:
    started = time.time()
    _record(started, self, argument)
    if not self.request.delivery_info["redelivered"]:
        os._exit(3)


@app.task(name="sample.late_reject", bind=True, acks_late=True)
def late_reject(self: Any, argument: Any = None) -> None:
    started = time.time()
    _record(started, self, argument)
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not now", requeue=True)


@app.task(name="sample.broadcast", bind=True)
def broadcast(self: Any, argument: Any = None) -> None:
    started = time.time()
    _record(started, self, argument)
    if argument == "error":
        raise ValueError("on purpose")


@worker_process_init.connect
def _die_with_the_worker(**_: Any) -> None:
    """A child of a worker that was killed must not stay behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _break(what: str) -> None:
    """Stands for a Celery or kombu that has moved on, or for a fault in the plug-in."""
    if what == "private-name":
        from opsdash.worker import message_origin

        message_origin.QOS = (*message_origin.QOS, "moved_on")
    elif what == "bell":
        from opsdash.worker.celery_private import green_loop as private

        private.POLLER = (*private.POLLER, "moved_on")
    elif what == "endings":
        from opsdash.worker.celery_private import failures as private

        private.HOOKS = (*private.HOOKS, "moved_on")
    elif what == "late-listener":
        from opsdash.worker.watcher import FlagWatch

        run = FlagWatch._run

        def run_late(self: FlagWatch) -> None:
            time.sleep(1.5)
            run(self)

        FlagWatch._run = run_late
    elif what == "start":
        from opsdash.worker.watcher import FlagWatch

        def read_now(self: FlagWatch) -> bool:
            raise RuntimeError("broken on purpose")

        FlagWatch.read_now = read_now
    elif what == "unreadable":
        from opsdash.worker import watcher

        read_flags = watcher.read_flags

        def read_unless_refused(link: Any, queues: Any) -> Any:
            if link.redis.exists(UNREADABLE):
                raise redis.TimeoutError("broken on purpose")
            return read_flags(link, queues)

        watcher.read_flags = read_unless_refused
    elif what == "recall":
        from opsdash.worker.recall import Recall

        def run(self: Recall) -> int:
            raise RuntimeError("broken on purpose")

        Recall.run = run
    elif what == "children":
        from opsdash.worker import prefork_guard

        def install(self: Any, consumer: Any) -> None:
            raise RuntimeError("broken on purpose")

        prefork_guard.PreforkGuard.__init__ = install
    elif what == "clock":
        true_time = time.time

        def jumped() -> float:
            try:
                return true_time() + float(Path(os.environ["SAMPLE_CLOCK"]).read_text())
            except FileNotFoundError:
                return true_time()

        time.time = jumped
    elif what == "slow-accept":
        from celery.worker.request import Request

        on_accepted = Request.on_accepted

        def accept_slowly(self: Request, *args: Any) -> None:
            on_accepted(self, *args)
            _records(os.getpid()).rpush(ACCEPTING, self.id)
            time.sleep(1.0)  # a round trip to Redis, long enough for a pause to come

        Request.on_accepted = accept_slowly
    elif what == "generous-budget":
        from opsdash.worker.failures import keeper

        keeper.Budget.take = lambda self, group: True
        keeper.MOST_WAITING, keeper.MOST_WAITING_BYTES = 10**9, 10**12
    elif what == "stuck-loop":
        from celery.signals import worker_ready

        @worker_ready.connect(weak=False)
        def stand_still(sender: Any, **_: Any) -> None:
            sender.timer.call_after(1.0, time.sleep, (600,))
    elif what == "no-way-back":
        from opsdash.worker import gate

        def refuse(channel: Any, request: Any) -> None:
            raise redis.ResponseError("OOM on purpose")

        gate.copy_back = refuse


for _what in os.environ.get("SAMPLE_BREAK", "").split(","):
    _break(_what)
