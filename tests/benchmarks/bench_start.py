"""Programs from their start to their last byte; what the plug-in's import adds; the demo, until it is ready.

Wall-clock and processor time of whole processes, one after the other, each round in another order. The control is a
checkout of another build: ``run.py start --control PATH``.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from stage import server
from support import services
from support.workers import worker

HERE = Path(__file__).parents[2]
PLUG_IN = """
import sys, time
import celery
if sys.argv[1] == "used":
    celery.Celery("shop")
began = time.perf_counter()
import opsdash.worker
print((time.perf_counter() - began) * 1000)
"""


def measure(
    *, quick: bool, control: Path | None = None
) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Milliseconds; seconds of the demo."""
    builds = {"opsdash": HERE, **({"control": control} if control else {})}
    figures: dict[str, list[float]] = {}
    python = [sys.executable]
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        # Compiled once, as an installed package is; and not into the checkouts.
        env |= {"PYTHONPYCACHEPREFIX": str(home / "compiled"), "OPSDASH_REDIS_URL": broker.url, "TMPDIR": str(home)}
        env["OPSDASH_DATABASE_URL"] = f"sqlite:///{home / 'opsdash.sqlite3'}"
        stack.enter_context(worker(pool="threads", concurrency=2, env={"OPSDASH_REDIS_URL": broker.url}))
        ends = {
            "python -c pass": [*python, "-c", "pass"],
            "python -c 'import redis, sqlalchemy'": [*python, "-c", "import redis, sqlalchemy.dialects.sqlite"],
            "celery --version": [*python, "-m", "celery", "--version"],
            "celery inspect ping": [*python, "-m", "celery", "-b", broker.url, "inspect", "ping"],
        }
        if found := shutil.which("redis-cli") or shutil.which("valkey-cli"):
            ends["redis-cli ping"] = [found, "-u", broker.url, "ping"]
        programs = {name: (words, env) for name, words in ends.items()}
        for build, folder in builds.items():
            theirs = {**env, "PYTHONPATH": str(folder)}
            for words in ("--version", "--help", "status"):
                programs[f"{build} {words}"] = ([*python, "-m", "opsdash", *words.split()], theirs)
        subprocess.run(
            [*python, "-m", "opsdash", "db", "upgrade"],
            env={**env, "PYTHONPATH": str(HERE)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for words, theirs in programs.values():  # compiles, and fills the system's cache of files
            timed(words, theirs)
        for turn in range(3 if quick else 9):
            names = list(programs)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                wall_ms, cpu_ms = timed(*programs[name])
                figures.setdefault(name, []).append(wall_ms)
                figures.setdefault(f"{name}: processor", []).append(cpu_ms)
            for build, folder in builds.items():
                for celery in ("imported", "used"):
                    words = [*python, "-c", PLUG_IN, celery]  # not in a checkout: its folder would come first
                    theirs = {**env, "PYTHONPATH": str(folder)}
                    took = subprocess.check_output(words, env=theirs, cwd=home, text=True)
                    figures.setdefault(f"{build}: import opsdash.worker, Celery {celery}", []).append(float(took))
        for _ in range(2 if quick else 7):
            for build, folder in builds.items():
                figures.setdefault(f"{build} demo", []).append(demo({**env, "PYTHONPATH": str(folder)}))
    pairs = {
        f"{build} {words} / {other}": (f"{build} {words}", other)
        for build in builds
        for words in ("--version", "--help", "status")
        for other in ends
    }
    return figures, pairs, {name: "s" if name.endswith(" demo") else "ms" for name in figures}


def timed(words: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Milliseconds until a program has ended, and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(words, env=dict(env), cwd=env["TMPDIR"], capture_output=True, check=False)
    took_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_s * 1000, cpu_s * 1000


def demo(env: Mapping[str, str]) -> float:
    """Seconds until a demo says that it is ready: every part of it is, and its page answers."""
    words = [sys.executable, "-m", "opsdash", "demo", "--no-browser", "--port", str(services.free_port())]
    own = {name: value for name, value in env.items() if not name.startswith("OPSDASH_")}
    began = time.perf_counter()
    process = subprocess.Popen(
        words, env=own, cwd=env["TMPDIR"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        if not any(line == "ready\n" for line in process.stdout):
            raise AssertionError("the demo ended before it was ready")
        return time.perf_counter() - began
    finally:
        for _ in range(2):  # the second one: at once
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        process.communicate()
