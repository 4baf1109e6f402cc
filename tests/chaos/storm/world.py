"""The real servers of a storm, workers and a served console, and how they are started, hurt and ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import redis
import sqlalchemy as sa
from chaos.storm.beat import RunningBeat
from chaos.storm.schedule import QUEUES
from support import builds, programs
from support.beats import beat
from support.disks import disk
from support.proxy import Proxy
from support.sample_app import make_app
from support.served import Answer, Client
from support.services import Missing, Postgres, Valkey, folder, free_port, until
from support.workers import PATH, Records, Worker, worker

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.database import migrations

SECRET_KEY = "a-key-for-a-storm-and-nothing-else"
TOKEN = "storm-0123456789-0123456789"
THIS = "this"
"""Build of opsdash: the one here. The other one is the last release."""
BROKERS_DISK_MB, DATABASES_DISK_MB = 200, 300
POOLS = ("prefork", "threads", "solo")
CONCURRENCY = 2
LOG_TAIL = 40_000
FAILED = "raised unexpected: ConnectionError"
"""What a worker logs of a task that has failed for good."""


class DurableValkey(Valkey):
    """A broker that has everything it acknowledged after a ``kill -9``, too."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--appendonly", "yes", "--appendfsync", "always"]


class DurablePostgres(Postgres):
    """A database that writes what it commits."""

    def _command(self) -> list[str]:
        return [*super()._command(), "-c", "synchronous_commit=on"]


class ServedConsole:
    """``opsdash serve`` in a process of its own.

    Attributes:
        lives: How often it was started. ``build``: of opsdash, at the last start.
    """

    def __init__(self, home: Path, variables: dict[str, str], paths: dict[str, str]) -> None:
        self._paths = paths
        self._log = home / "console.log"
        self._variables = variables
        self.port = free_port()
        self.client = Client(self.port, "", TOKEN)
        self.lives = 0
        self.build = THIS
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, build: str = THIS) -> None:
        with self._log.open("ab") as out:
            self._process = programs.Popen(
                programs.leashed([sys.executable, "-m", "opsdash", "serve", "--port", str(self.port)]),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": self._paths[build], **self._variables},
                cwd=self._log.parent,
                start_new_session=True,
            )
        self.lives += 1
        self.build = build
        if not until(self._answers, timeout_s=30):
            raise RuntimeError(f"the console did not start:\n{self.log[-LOG_TAIL:]}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
        self._process = None

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz").status == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None) -> Answer | None:
        """None: there was no answer."""
        try:
            return self.client.call(method, path, body)
        except (OSError, http.client.HTTPException):
            return None


class World:
    """All of it.

    Attributes:
        raw: Straight to the broker: what is asked here passes no proxy.
        paths: Build of opsdash → ``PYTHONPATH`` of its programs; without its history there is this one alone.
        workers: Slot → the worker that runs there. ``builds``: of which build of opsdash it is.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        home = stack.enter_context(folder())
        self.brokers_disk = stack.enter_context(disk(_sub(home, "broker"), BROKERS_DISK_MB))
        databases = stack.enter_context(folder())
        self.databases_disk = stack.enter_context(disk(databases, DATABASES_DISK_MB))
        self.broker, self.notes = DurableValkey(home / "broker"), Valkey(_sub(home, "notes"))
        self.database = DurablePostgres(databases)
        for server in (self.broker, self.notes, self.database):
            stack.callback(server.kill)
            server.start()
        self.database_url = self.database.create()
        migrations.upgrade(self.database_url)
        self.worker_cable = stack.enter_context(contextlib.closing(Proxy(self.broker.port)))
        self.console_cable = stack.enter_context(contextlib.closing(Proxy(self.broker.port)))
        self.raw = redis.Redis(port=self.broker.port, decode_responses=True, socket_timeout=20)
        self.records = Records(self.notes.url)
        self.engine = sa.create_engine(self.database_url, poolclass=sa.pool.NullPool)
        self.producer = make_app(self.broker.url)
        self.producer.conf.broker_pool_limit = 0
        stack.callback(self.producer.close)
        self.clock = home / "clock"
        self.clock.write_text("0")
        variables = {
            "OPSDASH_REDIS_URL": f"redis://127.0.0.1:{self.console_cable.port}/0",
            "OPSDASH_DATABASE_URL": self.database_url,
            "OPSDASH_AUTH": "header",
            "OPSDASH_SECRET_KEY": SECRET_KEY,
            "OPSDASH_API_TOKENS": f"storm:admin:{TOKEN}",
            "OPSDASH_POLL_INTERVAL_S": "0.5",
            "OPSDASH_QUEUES": ",".join(QUEUES),
            "OPSDASH_PRIORITY_STEPS": "0,3,6,9",
        }
        self.paths = {THIS: os.pathsep.join(PATH)}
        with contextlib.suppress(Missing):
            self.paths["last release"] = builds.path_of(builds.last_release(_sub(home, "release")))
        self.console = ServedConsole(home, variables, self.paths)
        stack.callback(self.console.kill)
        settings = Settings.from_env(
            {}, redis_url=self.broker.url, database_url=self.database_url, auth="dev", secret_key=SECRET_KEY
        )
        self.auditor = assemble(settings)
        stack.callback(self.auditor.close)
        self.workers: dict[int, Worker] = {}
        self.builds: dict[int, str] = {}
        self._home = home
        self.logs: dict[str, str] = {}
        self._failed_in_old = 0
        self._ends: dict[int, contextlib.ExitStack] = {}
        self._run = secrets.token_hex(3)
        stack.callback(self._end_workers)

    def start_worker(self, slot: int, build: str = THIS) -> None:
        """Starts it; that it is ready is waited for with everything else."""
        stack = contextlib.ExitStack()
        env = {
            "OPSDASH_REDIS_URL": f"redis://127.0.0.1:{self.worker_cable.port}/0",
            "SAMPLE_RECORDS_URL": self.notes.url,
            "SAMPLE_BREAK": "clock",
            "SAMPLE_CLOCK": str(self.clock),
            "PYTHONPATH": self.paths[build],
        }
        self.builds[slot] = build
        self.workers[slot] = stack.enter_context(
            worker(
                "chaos.storm.app:app",
                pool=POOLS[slot],
                concurrency=1 if POOLS[slot] == "solo" else CONCURRENCY,
                env=env,
                wait=False,
                hostname=f"storm{slot}@{self._run}",
            )
        )
        self._ends[slot] = stack

    def ready(self, slot: int) -> None:
        """Waits for it."""
        one = self.workers[slot]
        one.wait_for_log(f"{one.hostname} ready.", timeout_s=60)

    def stop_worker(self, slot: int) -> None:
        """Warm shutdown, as a deployment does it."""
        self.ready(slot)
        one = self.workers[slot]
        one.stop(timeout_s=60)
        self._forget(slot)

    def kill_worker(self, slot: int) -> None:
        self.workers[slot].kill()
        self._forget(slot)

    def _forget(self, slot: int) -> None:
        one = self.workers.pop(slot)
        if self.builds.pop(slot) != THIS:
            self._failed_in_old += one.log.count(FAILED)
        self.logs[one.hostname] = (self.logs.get(one.hostname, "") + one.log)[-2_000_000:]
        self._ends.pop(slot).close()

    @property
    def failed_in_old(self) -> int:
        """Tasks that have failed in workers of the last release, which keep no failures."""
        running = (one for slot, one in self.workers.items() if self.builds[slot] != THIS)
        return self._failed_in_old + sum(one.log.count(FAILED) for one in running)

    def _end_workers(self) -> None:
        for slot in list(self.workers):
            with contextlib.suppress(Exception):
                self.kill_worker(slot)

    @contextlib.contextmanager
    def beat(self) -> Iterator[RunningBeat]:
        """A beat, from the moment at which it has read what is paused."""
        proxied = SimpleNamespace(url=f"redis://127.0.0.1:{self.worker_cable.port}/0")
        home = self._home / "beat"
        home.mkdir(exist_ok=True)
        with beat(proxied, home, app="chaos.storm.beat_app:app") as process:
            running = RunningBeat(process, self.raw)
            running.wait_until_ready()
            yield running
            running.stop()

    def database_answers(self) -> bool:
        """It may be asked."""
        try:
            with self.engine.connect():
                return True
        except sa.exc.OperationalError:
            return False

    def drop_connections(self) -> None:
        """Resets every connection to the broker but the storm's own."""
        own = self.raw.client_id()
        for client in self.raw.client_list():
            if int(client["id"]) != own:
                self.raw.client_kill_filter(_id=client["id"])

    def in_thread(self, job: Any) -> threading.Thread:
        thread = threading.Thread(target=job, daemon=True)
        thread.start()
        return thread

    def log_tails(self) -> dict[str, str]:
        """The end of every log."""
        tails = {one.hostname: one.log[-LOG_TAIL:] for one in self.workers.values()}
        for name, text in self.logs.items():
            tails.setdefault(f"{name} (gone)", text[-LOG_TAIL:])
        tails["console"] = self.console.log[-LOG_TAIL:]
        tails["broker"] = self.broker.log.read_text(errors="replace")[-1_000:]
        tails["database"] = self.database.log.read_text(errors="replace")[-1_000:]
        return tails


def _sub(home: Path, name: str) -> Path:
    made = home / name
    made.mkdir()
    return made


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Running, with two workers; nothing of it is left at the end."""
    with contextlib.ExitStack() as stack:
        made = World(stack)
        # Ctrl-C is for the storm alone: what all programs are forked from is in its group, and would end with them.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            made.console.start()
            for slot in (0, 1):
                made.start_worker(slot)
        finally:
            signal.signal(signal.SIGINT, before)
        yield made


def pause_for(seconds: float, since: float) -> None:
    """The rest of a time that an outage is to last."""
    time.sleep(max(0.0, since + seconds - time.monotonic()))


def ended_by_celery(log: str) -> bool:
    """The worker ended by an error that neither came out of opsdash nor passed through it."""
    _, ended, traceback = log.rpartition("Unrecoverable error")
    frames = _FRAME.findall(traceback)
    return bool(ended and frames) and not any("/opsdash/" in frame for frame in frames)


_FRAME = re.compile(r'^  File "([^"]+)"', re.MULTILINE)
