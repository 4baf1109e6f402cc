"""Commands, from the start of their process to its end; the demo; how much is installed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable

import redis
from stage import server
from support import services
from support.demo import running_demo
from support.workers import ROOT, eventually, worker

from opsdash.services.database import migrations

from .. import rivals, servers
from ..work import Bench, Contestant, Figure, Found, does_not, limit, ms, own, rival, scratch, work
from .queues import ALL, fill


def command(*words: str, **environment: str) -> Callable[[], float]:
    """Milliseconds of a command that succeeds."""
    surroundings = {**rivals.clean(), **environment}

    def act() -> None:
        done = subprocess.run(words, env=surroundings, cwd=rivals.DRIVERS, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words[1:4]} ended with {done.returncode}: {done.stderr[-200:]}")

    return lambda: ms(act)


def own_settings(broker: services.Valkey) -> dict[str, str]:
    """What opsdash's command is given, with a log of its own."""
    url = f"sqlite:///{broker.home / 'bench.sqlite3'}"
    migrations.upgrade(url)
    given = {"OPSDASH_REDIS_URL": broker.url, "OPSDASH_DATABASE_URL": url, "OPSDASH_SECRET_KEY": "k" * 32}
    # Compiled once, as the rivals are by their installation; not into the checkout.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(broker.home / "compiled")}
    return given | compiled | {"PYTHONPATH": str(ROOT), "OPSDASH_QUEUES": "celery"}


@work(Figure("clear-command", f"{ALL} cleared by a command, the start of its process included", "ms"), warm=True)
def clear_command(bench: Bench) -> list[Contestant]:
    """What a person types."""
    number, broker = bench.size(100_000, 5_000), bench.broker()
    client = bench.enter(redis.Redis.from_url(broker.url))

    def by(act: Callable[[], float]) -> Callable[[], Found]:
        def once() -> Found:
            client.flushall()
            fill(client, number)
            took = act()
            if client.exists("celery"):
                raise RuntimeError("messages are left")
            return {"clear-command": took}

        return once

    def by_rq() -> Callable[[], Found]:
        apart = bench.broker()
        driver, act = (
            bench.driver("rq", apart),
            command(bench.rivals.program("rq", "rq"), "empty", "-u", apart.url, "default"),
        )

        def once() -> Found:
            driver.ask("fill", number)
            took = act()
            if driver.ask("waiting"):
                raise RuntimeError("jobs are left")
            return {"clear-command": took}

        return once

    unlink = f"import redis; redis.Redis.from_url({broker.url!r}).unlink('celery')"
    purge = (bench.rivals.program("celery", "celery"), "-b", broker.url, "purge", "-f")
    clear = (sys.executable, "-m", "opsdash", "clear-queue", "celery", "--confirm", "YES", "--phrase", "celery")
    return [
        own("opsdash", "`opsdash clear-queue`", by(command(*clear, **own_settings(broker)))),
        rival("Celery", "`celery purge -f`", lambda: by(command(*purge))),
        rival("RQ", "`rq empty`", by_rq),
        *does_not("Flower", "Dramatiq", "Taskiq", "Huey", why="no command"),
        limit("Python, redis-py and `UNLINK`", by(command(sys.executable, "-c", unlink))),
    ]


@work(Figure("status-command", "the state of two workers as a command, to its last byte", "ms"), warm=True)
def status_command(bench: Bench) -> list[Contestant]:
    """`celery status` asks the workers and waits a second for answers."""
    broker = bench.broker()
    ops = bench.console(broker)
    for _ in range(2):
        bench.enter(worker(pool="threads", env={"OPSDASH_REDIS_URL": broker.url}))
    eventually(lambda: len(ops.get_active_workers()) == 2, what="both workers report")
    ask = (bench.rivals.program("celery", "celery"), "-b", broker.url, "status")

    def by(act: Callable[[], float]) -> Callable[[], Found]:
        return lambda: {"status-command": act()}

    def by_rq() -> Callable[[], Found]:
        apart = bench.broker()
        driver = bench.driver("rq", apart)
        for at in range(2):
            bench.enter(servers.rq_worker(bench.rivals, apart.url, f"w{at}"))
        eventually(lambda: driver.ask("workers")[1] == 2, what="RQ's workers")
        return by(command(bench.rivals.program("rq", "rq"), "info", "-u", apart.url))

    ping = f"import redis; redis.Redis.from_url({broker.url!r}).ping()"
    return [
        own(
            "opsdash",
            "`opsdash status`",
            by(command(sys.executable, "-m", "opsdash", "status", **own_settings(broker))),
        ),
        rival("Celery", "`celery status`", lambda: by(command(*ask))),
        rival("RQ", "`rq info`", by_rq),
        *does_not("Flower", "Dramatiq", "Taskiq", "Huey", why="no command"),
        limit("Python, redis-py and `PING`", by(command(sys.executable, "-c", ping))),
    ]


@work(Figure("demo-start", "a whole deployment on one machine, until it is ready", "ms"))
def demo_start(bench: Bench) -> list[Contestant]:
    """`opsdash demo`: a broker, workers, beat, the page."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}

    def demo() -> Found:
        before = dict(os.environ)
        os.environ |= paths
        try:
            with scratch() as home:
                began = time.perf_counter()
                with running_demo(home):
                    return {"demo-start": (time.perf_counter() - began) * 1_000}
        finally:
            os.environ.clear()
            os.environ.update(before)

    def one_worker() -> Found:
        with contextlib.ExitStack() as stack:
            began = time.perf_counter()
            broker = stack.enter_context(server())
            log = stack.enter_context(scratch()) / "log"
            words = [bench.rivals.program("celery", "celery"), "-A", "celery_tasks", "-b", broker.url, "worker"]
            stack.enter_context(servers.program([*words, "-c", "1", "-l", "INFO", "-f", str(log)]))
            servers.settled(lambda: log.exists() and " ready." in log.read_text(), "a worker")
            return {"demo-start": (time.perf_counter() - began) * 1_000}

    return [
        own("opsdash", "`opsdash demo`", demo),
        *does_not("Celery", "Flower", "RQ", "rq-dashboard", "Dramatiq", "Taskiq", "Huey", why="no demo"),
        limit("a broker and one worker of plain Celery", one_worker),
    ]


@work(
    Figure(
        "install", "what is installed, without pip and setuptools; beside Celery, what comes to `celery[redis]`", "MB"
    ),
    rounds=1,
)
def install(bench: Bench) -> list[Contestant]:
    """The bytes of all files, not of blocks."""

    def size(name: str, minus: str = "") -> Callable[[], Found]:
        bench.rivals.python(name)
        return lambda: {"install": megabytes(bench, name) - (megabytes(bench, minus) if minus else 0)}

    return [
        own("opsdash", "`opsdash[console]` beside Celery", size("opsdash", "celery")),
        own("in a worker's environment", "`opsdash` beside Celery", size("opsdash-worker", "celery")),
        rival("Flower", "beside Celery", lambda: size("flower", "celery")),
        rival("Panel", "alone, with redis-py", lambda: size("panel")),
        rival("RQ", "with rq-dashboard", lambda: size("rq")),
        rival("Dramatiq", "", lambda: size("dramatiq")),
        rival("Taskiq", "", lambda: size("taskiq")),
        rival("Huey", "", lambda: size("huey")),
        limit("`celery[redis]` itself", size("celery")),
    ]


def megabytes(bench: Bench, name: str) -> float:
    """Of all files in its ``site-packages``."""
    (folder,) = bench.rivals.python(name).parents[1].glob("lib/python*/site-packages")
    skipped = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(skipped)
    )
    return sum(path.stat().st_size for path in files) / 1e6
