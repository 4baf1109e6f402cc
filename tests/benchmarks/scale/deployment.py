"""A deployment to measure: broker, database, a served console, a console of the measuring process, light workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from stage import cpu_s
from support import services
from support.programs import leashed
from support.workers import PATH, ROOT

import opsdash
from opsdash.services.console import Console
from opsdash.services.database import migrations
from opsdash.services.pause.verdict import verdict

FEW_FILES = ("--maxclients", "18000")
IN_ONE_PROCESS = 500
"""Light workers."""
ROUNDS = 5
TOKEN, SECRET = "a-token-of-the-scale-runs", "a-key-for-scale-runs-and-nothing-else"
LONG_S = 45.0
COUNT = """local n = 0
for _, host in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local epoch = redis.call('HGET', ARGV[1] .. host, 'epoch')
    if epoch and (tonumber(epoch) or -1) >= tonumber(ARGV[2]) then n = n + 1 end
end
return n"""
"""How many workers have reported this epoch: one look, which costs the measured ones less than a snapshot."""


class Deployment:
    """Everything, until the end of the block.

    Attributes:
        ops: The console of this process.
        store: A plain client.
    """

    def __init__(self, stack: contextlib.ExitStack, *, postgres: bool = False, **settings: str) -> None:
        self._stack = stack
        home = stack.enter_context(services.folder())
        self.broker = services.Valkey(home)
        self.broker.start_with(*FEW_FILES)
        stack.callback(self.broker.kill)
        self.database_url = f"sqlite:///{home / 'scale.sqlite3'}"
        if postgres:
            server = services.Postgres(stack.enter_context(services.folder()))
            server.start()
            stack.callback(server.kill)
            self.database_url = server.create()
        migrations.upgrade(self.database_url)
        self.store = stack.enter_context(redis.Redis.from_url(self.broker.url, decode_responses=True))
        self.ops: Console = opsdash.connect(
            redis_url=self.broker.url, database_url=self.database_url, secret_key=SECRET
        )
        stack.callback(self.ops.close)
        self._settings, self._served, self.port = settings, None, services.free_port()
        self.workers: list[subprocess.Popen[str]] = []

    @property
    def _environment(self) -> dict[str, str]:
        own = {"REDIS_URL": self.broker.url, "DATABASE_URL": self.database_url, "AUTH": "dev"}
        own |= {"PAGE_OPENS_PER_MINUTE": "100000", "MAX_PAGES": "500", "MAX_PAGES_EACH": "500", **self._settings}
        own |= {"SECRET_KEY": SECRET, "MAX_CONNECTIONS_EACH": "1000", "API_TOKENS": f"scale:viewer:{TOKEN}"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSDASH_")}
        return {**kept, **{f"OPSDASH_{name}": value for name, value in own.items()}, "PYTHONPATH": ":".join(PATH)}

    def serve(self) -> int:
        """Starts the console that is measured from outside; its process id."""
        if self._served is None:
            command = leashed([sys.executable, "-P", "-m", "opsdash", "serve", "--port", str(self.port)])
            self._served = self.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if not services.until(lambda: self._answers("/healthz"), timeout_s=5 * LONG_S):
                raise RuntimeError("the console does not answer")
        return self._served.pid

    def gather(self, number: int, queues: int, each: int) -> None:
        """Has so many light workers in all."""
        for first in range(sum(1 for _ in self.hosts), number, IN_ONE_PROCESS):
            count = min(IN_ONE_PROCESS, number - first)
            words = [self.broker.url, str(count), str(first), str(queues), str(each)]
            command = leashed([sys.executable, "-m", "benchmarks.scale.light_workers", *words])
            self.workers.append(self.start(command, stdout=subprocess.PIPE, text=True))
        for one in self.workers:
            if not getattr(one, "there", False):
                if one.stdout is None or one.stdout.readline() != "ready\n":
                    raise RuntimeError("light workers did not start")
                one.there = True  # type: ignore[attr-defined]

    def copy(self, number: int, queues: int, each: int) -> None:
        """Has so many copies of a light worker's report besides."""
        words = [self.broker.url, str(number), str(queues), str(each)]
        command = leashed([sys.executable, "-m", "benchmarks.scale.copies", *words])
        copying = self.start(command, stdout=subprocess.PIPE, text=True)
        if copying.stdout is None or copying.stdout.readline() != "ready\n":
            raise RuntimeError("reports were not copied")
        self.workers.append(copying)

    @property
    def hosts(self) -> list[str]:
        """The workers that report."""
        found: Any = self.store.zrange("opsdash:workers", 0, -1)
        return list(found)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """The light workers stand still, so what Redis does is for the console. After six seconds they are silent."""
        for one in self.workers:
            one.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for one in self.workers:
                one.send_signal(signal.SIGCONT)

    def measured(self, name: str, call: Callable[[], object], rounds: int = ROUNDS) -> dict[str, float]:
        """Medians of a call in this process: by the clock, of its processor and of Redis's."""
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            redis_ms, own_s, began = self.redis_ms(), time.process_time(), time.perf_counter()
            call()
            took = {
                "": (time.perf_counter() - began) * 1000,
                ", console's processor": (time.process_time() - own_s) * 1000,
            }
            took[", Redis's processor"] = self.redis_ms() - redis_ms
            for kind, value in took.items():
                taken.setdefault(f"{name}{kind}, ms", []).append(value)
        return {kind: sorted(values)[len(values) // 2] for kind, values in taken.items()}

    def redis_ms(self) -> float:
        """Processor time of Redis's main thread so far."""
        found = self.store.info("cpu")
        return (found["used_cpu_user_main_thread"] + found["used_cpu_sys_main_thread"]) * 1000

    def looked_ms(self) -> float:
        """Time that Redis has spent on scripts by their digest, as `COUNT` is called and nothing else here."""
        found = self.store.info("commandstats").get("cmdstat_evalsha", {})
        return float(found.get("usec", 0)) / 1000

    def snapshot(self) -> dict[str, float]:
        """Of `Console.snapshot`."""
        self.ops.snapshot()
        with self.still():
            return self.measured("snapshot", self.ops.snapshot)

    def scrape(self, name: str = "metrics scrape, ms", path: str = "/metrics") -> dict[str, float]:
        """From the request to the last byte."""
        self.serve()
        self._answers(path)
        taken = []
        for _ in range(2 * ROUNDS):
            began = time.perf_counter()
            if not self._answers(path):
                raise RuntimeError(f"{path} was refused")
            taken.append((time.perf_counter() - began) * 1000)
        return {name: sorted(taken)[len(taken) // 2]}

    def status(self, rounds: int = 1) -> dict[str, float]:
        """`opsdash status` as a command: by the clock, and of its processor."""
        taken: list[tuple[float, float]] = []
        for _ in range(rounds):
            began = time.perf_counter()
            command = [sys.executable, "-P", "-m", "opsdash", "status"]
            with self.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
                _, _, used = os.wait4(running.pid, 0)
                running.returncode = 0  # it was waited for here
            taken.append(((time.perf_counter() - began) * 1000, (used.ru_utime + used.ru_stime) * 1000))
        clock, processor = (sorted(values)[rounds // 2] for values in zip(*taken, strict=True))
        return {"opsdash status, ms": clock, "opsdash status, its processor, ms": processor}

    def served(self, for_s: float = 6.0) -> dict[str, float]:
        """What the served console takes while it is looked at: share of a core, and memory."""
        pid = self.serve()
        self._answers("/api/v1/status")
        began, before = time.perf_counter(), cpu_s(pid)
        while time.perf_counter() - began < for_s:
            time.sleep(1.0)  # a look each second keeps its poller reading
            self._answers("/healthz")
        share = (cpu_s(pid) - before) / (time.perf_counter() - began)
        return {"console served, % of a core": share * 100, "console's memory, MB": resident_mb(pid)}

    def pause(self, number: int) -> dict[str, float]:
        """From the act until all workers have reported it, and until the console says that it is safe.

        What has not come to pass within `LONG_S` is left out: the machine is too small for so many workers.
        """
        redis_ms, own_s, began = self.redis_ms(), time.process_time(), time.perf_counter()
        looked_ms = self.looked_ms()
        workers_s = sum(cpu_s(one.pid) for one in self.workers)
        self.ops.run(opsdash.PauseProcessing(reason="scale"), actor="scale", confirm="YES")
        found = {"pause, the call, ms": (time.perf_counter() - began) * 1000}
        if self._all_have_reported(number):
            spent_ms = self.redis_ms() - redis_ms - (self.looked_ms() - looked_ms)
            found |= {
                "pause, all have reported it, ms": (time.perf_counter() - began) * 1000,
                "pause, Redis's processor, ms": spent_ms,
                "pause, console's processor, ms": (time.process_time() - own_s) * 1000,
                "pause, workers' processor, ms": (sum(cpu_s(one.pid) for one in self.workers) - workers_s) * 1000,
            }
            if self._until(lambda: (said := verdict(self.ops.snapshot())) is not None and said.safe, 0.2):
                found["pause, the console says safe, ms"] = (time.perf_counter() - began) * 1000
        self.ops.run(opsdash.ResumeProcessing(), actor="scale", confirm="YES")
        self._all_have_reported(number)
        return found

    def _all_have_reported(self, number: int) -> bool:
        """The present epoch."""
        count, epoch = self.store.register_script(COUNT), self.store.get("opsdash:pause:epoch")
        look_s = 0.02 + number / 5_000
        return self._until(lambda: count(["opsdash:workers"], ["opsdash:worker:", epoch]) >= number, look_s)

    def _until(self, check: Callable[[], object], look_s: float) -> bool:
        """Looks so often, for `LONG_S` at most."""
        deadline = time.monotonic() + LONG_S
        while not check():
            if time.monotonic() > deadline:
                return False
            time.sleep(look_s)  # so long it is watched
        return True

    def _answers(self, path: str) -> bool:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                answer.read()
                return True
        except OSError:
            return False

    def start(self, command: list[str], **more: Any) -> subprocess.Popen[Any]:
        """A program with this deployment's settings, ended with it."""
        started = subprocess.Popen(command, env=self._environment, cwd=ROOT, **more)
        self._stack.callback(_end, started)
        return started


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _end(started: subprocess.Popen[Any]) -> None:
    if started.returncode is None:
        started.kill()
        started.wait()
    for pipe in (started.stdin, started.stdout):
        if pipe is not None:
            pipe.close()
