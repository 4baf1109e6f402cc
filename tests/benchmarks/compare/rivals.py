"""The rivals' environments: each product in a virtual environment of its own, and a process that drives it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs
from support.programs import leashed

ROOT = Path(__file__).parents[3]
PACKAGES: dict[str, tuple[str, ...]] = {
    "celery": ("celery[redis]>=5.4,<5.8",),
    "flower": ("flower>=2,<3", "celery[redis]>=5.4,<5.8"),
    "rq": ("rq", "rq-dashboard", "six"),  # rq-dashboard 0.9 imports six and does not ask for it
    "dramatiq": ("dramatiq[redis]",),
    "taskiq": ("taskiq", "taskiq-redis"),
    "huey": ("huey", "redis"),
    "panel": ("panel>=1.9,<2", "redis"),
    "opsdash": (f"opsdash[console] @ {ROOT.as_uri()}",),
    "opsdash-worker": (f"opsdash @ {ROOT.as_uri()}",),
}
"""Environment → what pip is asked for; the newest that installs."""
SHOWN = ("celery", "kombu", "flower", "rq", "rq-dashboard", "dramatiq", "taskiq", "taskiq-redis", "huey", "panel")
SHOWN += ("bokeh", "redis")
DRIVERS = Path(__file__).with_name("drivers")
VERSIONS = """
import json
from importlib import metadata
print(json.dumps({one.metadata["Name"].lower(): one.version for one in metadata.distributions()}))
"""


class NotInstalled(Exception):  # noqa: N818 - a state of the machine, as `Missing` of the tests' services
    """An environment could not be made; the text says why."""


class Rivals:
    """The environments below one folder, made when they are first asked for."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or Path(platformdirs.user_cache_dir("opsdash-rivals"))
        self.used: dict[str, None] = {}

    def python(self, name: str) -> Path:
        """Its interpreter; the environment is noted as used.

        Raises:
            NotInstalled: pip failed; the text is its last line.
        """
        found = self._made(name)
        self.used[name] = None
        return found

    @functools.cache  # noqa: B019 - one object for a run
    def _made(self, name: str) -> Path:
        wanted = PACKAGES[name]
        mark = hashlib.sha256(
            "\n".join((sys.version, *wanted, build() if "opsdash" in name else "")).encode()
        ).hexdigest()[:8]
        folder = self.home / f"{name}-{mark}"
        found = folder / "bin" / "python"
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            made(folder, *wanted)
            (folder / "complete").touch()
        return found

    def program(self, name: str, command: str) -> str:
        """One of its commands, such as ``rq``."""
        return str(self.python(name).with_name(command))

    def versions(self, *names: str) -> dict[str, str]:
        """Of what these environments are about."""
        found: dict[str, str] = {}
        for name in names:
            with contextlib.suppress(NotInstalled):
                told = json.loads(subprocess.check_output([self.python(name), "-c", VERSIONS], text=True))
                found |= {one: told[one] for one in SHOWN if one in told and one != "redis"}
        return found


def made(folder: Path, *packages: str) -> Path:
    """A virtual environment with these; its interpreter.

    Raises:
        NotInstalled: pip failed; the text is its last line.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotInstalled(lines[-1][:200] if lines else f"pip ended with {done.returncode}")
    return python


class Driver:
    """A process of a rival's Python: one line of JSON asks, one line of JSON answers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def started(cls, rivals: Rivals, name: str, url: str) -> Iterator[Driver]:
        """Until the end of the block.

        Raises:
            NotInstalled: Its environment could not be made.
        """
        command = leashed([str(rivals.python(name)), str(DRIVERS / f"{name}_driver.py"), url])
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean(), cwd=DRIVERS
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def ask(self, what: str, *args: Any) -> Any:
        """Calls one of the driver's functions.

        Raises:
            RuntimeError: It raised, or ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([what, args]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the driver has ended"}
        if "error" in answer:
            raise RuntimeError(f"{what}: {answer['error']}")
        return answer["value"]


def clean() -> dict[str, str]:
    """This process's environment without the paths of its Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "OPSDASH_"))}


def own_versions() -> dict[str, str]:
    """Of the project's environment, and which build was measured."""
    found = {"Python": sys.version.split()[0]}
    for package in ("celery", "kombu", "redis", "panel", "bokeh", "sqlalchemy"):
        found[package if package != "redis" else "redis-py"] = metadata.version(package)
    found["opsdash"] = build()
    return found


def build() -> str:
    """The last commit that changed the package; with ``+`` when it has changed since."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)

    commit = git("log", "-1", "--format=%h", "--", "opsdash", "alembic").stdout.strip()
    changed = git("diff", "--quiet", "HEAD", "--", "opsdash", "alembic").returncode
    return commit + ("+" if changed else "") if commit else metadata.version("opsdash")
