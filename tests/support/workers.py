"""Real Celery workers for tests: one subprocess each, gone at the end whatever happened, its log shown on failure."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import celery
import redis
from support import programs
from support.sample_app import STARTED, make_app
from support.services import until

ROOT = Path(__file__).parents[2]
LOG_TAIL = 6_000
PATH = [str(ROOT / "tests"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
PYTHON = os.environ.get("WORKER_PYTHON", sys.executable)
"""The workers' interpreter: one of an environment with another Celery puts the suite to the test against that."""
_numbers = count(1)


def _can_import(name: str) -> bool:
    """The workers' interpreter has the module."""
    if sys.executable == PYTHON:
        return importlib.util.find_spec(name) is not None
    return not subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode


def _celery() -> tuple[int, int]:
    """The workers' Celery, such as (5, 7)."""
    says = "import celery; print(celery.VERSION.major, celery.VERSION.minor)"
    major, minor = subprocess.check_output([PYTHON, "-c", says], text=True).split()
    return int(major), int(minor)


CELERY = celery.VERSION[:2] if sys.executable == PYTHON else _celery()
REPORTS_OFTEN = {"SAMPLE_POLL_S": "0.25"}
"""Of a worker of ``sample_app``: for tests that wait for what it reports, and not for how soon."""
GREEN = [pool for pool in ("gevent", "eventlet") if _can_import(pool)]
"""Pools of green threads that can be tried here."""


def _alive(group: int) -> bool:
    """A process of this group still runs. One that has ended and waits to be collected holds nothing, and is none."""
    if not Path("/proc/self/stat").exists():  # macOS, whose launchd collects at once
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        return True
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, _parent, of_group = entry.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False


class Worker:
    """A running ``celery worker``.

    Attributes:
        hostname: Its node name, as in ``opsdash:worker:{hostname}``.
        pid: Its main process.
    """

    def __init__(self, process: subprocess.Popen[bytes], hostname: str, log: Path) -> None:
        self.hostname = hostname
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, *, timeout_s: float = 20.0) -> None:
        """Waits until the log contains ``text``."""
        if not until(lambda: text in self.log or not self.running, timeout_s=timeout_s) or text not in self.log:
            raise AssertionError(f"{self.hostname} did not log {text!r} within {timeout_s} s")

    def stop(self, *, timeout_s: float = 20.0) -> int:
        """Warm shutdown; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """``kill -9`` of the main process and its children, as a lost machine would; all of them are gone after it.

        A child forked later holds the broker's connections of the main process, too. While it dies, the server still
        hands the next message to the ``BRPOP`` that waits there, and the message is lost.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
        self._process.wait()
        if not until(lambda: not _alive(self._process.pid), timeout_s=20):
            raise AssertionError(f"{self.hostname} has processes that can't be killed")


@contextlib.contextmanager
def worker(
    app: str = "support.sample_app:app",
    pool: str = "prefork",
    concurrency: int = 2,
    queues: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    wait: bool = True,
    hostname: str = "",
) -> Iterator[Worker]:
    """Starts a real worker and waits until it is ready; nothing of it is left at the end.

    Args:
        env: Added to this process's environment; ``OPSDASH_REDIS_URL`` names the broker.
        arguments: More arguments of ``celery worker``.
        wait: False returns as soon as the process exists.
        hostname: Its node name; without one it is ``w1-prefork@test`` and so on, which other test runs use too.
    """
    hostname = hostname or f"w{next(_numbers)}-{pool}@test"
    command = [PYTHON, "-m", "celery", "-A", app, "worker", "-P", pool, "-c", str(concurrency)]
    command += ["-n", hostname, "-l", "INFO", "--without-mingle", *arguments]
    if queues:
        command += ["-Q", ",".join(queues)]
    with tempfile.TemporaryDirectory(prefix="opsdash-worker-") as folder:
        log = Path(folder) / "worker.log"
        with log.open("wb") as out:
            process = programs.Popen(
                programs.leashed(command),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH), **(env or {})},
                start_new_session=True,
            )
        running = Worker(process, hostname, log)
        try:
            if wait:
                running.wait_for_log(f"{hostname} ready.")
            yield running
        except BaseException as error:
            error.add_note(f"--- log of {hostname} ---\n{running.log[-LOG_TAIL:]}")
            raise
        finally:
            running.kill()
            if process.stdin:
                process.stdin.close()


@dataclass(frozen=True)
class Start:
    """One start of a task of ``sample_app``."""

    task_id: str
    at: float
    name: str
    argument: Any
    worker: str


class Records:
    """What the sample app's tasks wrote down."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url, decode_responses=True)

    def __len__(self) -> int:
        return int(self.redis.llen(STARTED))

    def starts(self) -> list[Start]:
        """Every start, in the order they were written."""
        return [Start(*json.loads(line)) for line in self.redis.lrange(STARTED, 0, -1)]

    def times_run(self) -> Counter[str]:
        """Task id → how often it began."""
        return Counter(start.task_id for start in self.starts())

    def wait_for(self, number: int, *, timeout_s: float = 30.0) -> None:
        """Waits until so many tasks have begun."""
        if not until(lambda: len(self) >= number, timeout_s=timeout_s):
            raise AssertionError(f"{len(self)} tasks began within {timeout_s} s, {number} were expected")

    def stay(self, seconds: float) -> int:
        """How many tasks begin in so many seconds."""
        before = len(self)
        time.sleep(seconds)
        return len(self) - before

    def close(self) -> None:
        self.redis.close()


@contextlib.contextmanager
def producer(url: str, keyprefix: str = "") -> Iterator[Any]:
    """A Celery app that sends tasks to ``sample_app``'s workers: ``producer.send_task("sample.short", ["a"])``."""
    app = make_app(url, keyprefix)
    # kombu's pools are the process's: the next test would get a connection to a server that was restarted meanwhile.
    app.conf.broker_pool_limit = 0
    try:
        yield app
    finally:
        app.close()


def eventually(check: Callable[[], Any], *, timeout_s: float = 20.0, what: str = "it") -> None:
    """Waits until ``check`` is true; fails saying ``what`` did not come true."""
    if not until(lambda: bool(check()), timeout_s=timeout_s):
        raise AssertionError(f"{what}: not within {timeout_s} s")
