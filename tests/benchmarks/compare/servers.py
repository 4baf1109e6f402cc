"""The rivals' servers: Flower, rq-dashboard, a plain Panel page; opsdash's own page and workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stage import family
from support import services
from support.programs import leashed
from support.workers import ROOT

from .rivals import DRIVERS, Rivals, clean


@dataclass(frozen=True)
class Served:
    """A server: its process, its port and the address of its page."""

    process: subprocess.Popen[bytes]
    port: int
    url: str


@contextlib.contextmanager
def program(command: list[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the block, or with this process."""
    environment = {**clean(), **more}
    with subprocess.Popen(
        leashed(command), env=environment, cwd=DRIVERS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            for pid in family(process.pid):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def served(command: list[str], port: int, answers: str, page: str, **more: str) -> Iterator[Served]:
    """A server, from its first answer on."""
    with program(command, **more) as process:
        here = f"http://127.0.0.1:{port}"
        if not services.until(lambda: _answers(here + answers) or process.poll() is not None, timeout_s=60):
            raise RuntimeError(f"{command[0]} did not answer")
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        yield Served(process, port, here + page)


def flower(rivals: Rivals, url: str, *options: str) -> contextlib.AbstractContextManager[Served]:
    """Flower's page of workers, with its API open."""
    port = services.free_port()
    command = [str(rivals.python("flower")), "-m", "celery", f"--broker={url}", "flower", f"--port={port}"]
    command += ["--address=127.0.0.1", *options]
    return served(command, port, "/healthcheck", "/workers", FLOWER_UNAUTHENTICATED_API="true")


def rq_dashboard(rivals: Rivals, url: str) -> contextlib.AbstractContextManager[Served]:
    """The page of workers of rq-dashboard."""
    port = services.free_port()
    command = [rivals.program("rq", "rq-dashboard"), "-b", "127.0.0.1", "-p", str(port), "-u", url]
    return served(command, port, "/", "/0/view/workers")


def panel(rivals: Rivals, url: str) -> contextlib.AbstractContextManager[Served]:
    """A page as Panel's documentation would write it: two tables and a button, read again every two seconds."""
    port = services.free_port()
    command = [rivals.program("panel", "panel"), "serve", str(DRIVERS / "panel_page.py"), f"--port={port}"]
    command += ["--address=127.0.0.1", f"--allow-websocket-origin=127.0.0.1:{port}", "--args", url]
    return served(command, port, "/panel_page", "/panel_page")


@contextlib.contextmanager
def opsdash(url: str, home: Path, **settings: str) -> Iterator[Served]:
    """Opsdash's page, with a log of its own in this folder."""
    port = services.free_port()
    over = {"REDIS_URL": url, "DATABASE_URL": f"sqlite:///{home / 'page.sqlite3'}", "AUTH": "dev"}
    over |= {"PAGE_OPENS_PER_MINUTE": "100000", "MAX_PAGES_EACH": "100", **settings}
    environment = {f"OPSDASH_{name}": value for name, value in over.items()} | {"PYTHONPATH": str(ROOT)}
    own = [sys.executable, "-P", "-m", "opsdash"]
    subprocess.run([*own, "db", "upgrade"], env={**clean(), **environment}, check=True, capture_output=True)
    with served([*own, "serve", "--port", str(port)], port, "/healthz", "/operations", **environment) as running:
        yield running


def rq_worker(rivals: Rivals, url: str, name: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """One of RQ's workers; each runs one job at a time, in a process that it forks for it."""
    return program([rivals.program("rq", "rq"), "worker", "-u", url, "--name", name, "--path", str(DRIVERS), "default"])


def settled(check: object, what: str, timeout_s: float = 30.0) -> None:
    """Waits until it is true.

    Raises:
        RuntimeError: It did not become true.
    """
    if not services.until(lambda: bool(check()), timeout_s=timeout_s):  # type: ignore[operator]
        raise RuntimeError(f"{what}: not within {timeout_s} s")


def resident_mb(pid: int) -> float:
    """Resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        time.sleep(0.02)
        return False
