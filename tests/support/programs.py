"""Python programs as ``subprocess`` starts them, but by fork: most of a start is imports, the same ones each time.

``Popen`` and ``run`` take what those of ``subprocess`` take. ``python -m opsdash …``, ``-m celery …``, ``-m panel …``,
``-c …`` and scripts of this interpreter come from a process that has imported Celery, or the console, before. Anything
else (another interpreter, another opsdash on the path, a shell, pools of green threads, which must patch before the
first import) is started as ever; so is everything where ``OPSDASH_TEST_FORK=no`` or where there is no Linux. What is
about imports, or about operations of another package, which are found by the first import, uses ``subprocess``.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from support.services import LEASH

ROOT = Path(__file__).parents[2]
FORK_SERVER = Path(__file__).with_name("fork_server.py")
WORKER = ("celery.bin.celery", "celery.bin.worker", "celery.bin.beat", "celery.apps.worker", "celery.worker.components")
WORKER += ("celery.concurrency.prefork", "celery.concurrency.solo", "celery.concurrency.thread", "celery.events.state")
WORKER += ("kombu.transport.redis", "celery.backends.redis", "celery.app.control", "opsdash.worker", "opsdash.beat")
CONSOLE = ("opsdash.cli", "opsdash.bootstrap", "celery", "kombu.transport.redis", "sqlalchemy.dialects.sqlite")
CONSOLE += ("psycopg2", "alembic.command", "opsdash.web.server", "opsdash.demo.launch", "opsdash.operations")
CONSOLE += ("opsdash.cli.reads", "opsdash.cli.operations", "opsdash.services.console", "opsdash.runs.runner")
CONSOLE += ("panel.command.serve",)
CONSOLE += ("opsdash.services.doctor", "platformdirs.unix", "tornado.platform.asyncio", "logging.config")
MODULES = {"celery": WORKER, **dict.fromkeys(("opsdash", "panel", "support.doomed_run"), CONSOLE)}
"""What ``python -m`` of these names needs."""
GREEN = {"gevent", "eventlet"}
READ_AT_START = re.compile(r"(BOKEH|PANEL)_|PYTHON(?!PATH$|UNBUFFERED$|IOENCODING$)")
"""Variables that Python, Bokeh or Panel reads once: a program that is given another one is started as ever."""
OURS = {name: value for name, value in os.environ.items() if READ_AT_START.match(name)}


class _Server:
    """One process that has imported these modules and forks."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [*_leash(), sys.executable, str(FORK_SERVER), str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def start(self, order: dict[str, Any], ends: list[int]) -> int:
        """Orders a program; gives its process id."""
        with self._lock:
            socket.send_fds(self._orders, [json.dumps(order).encode()], ends)
            return int(self._orders.recv(100))


@functools.cache
def _server(modules: tuple[str, ...], _owner: int) -> _Server:
    return _Server(modules)


def _modules(words: list[str]) -> tuple[str, ...]:
    """What a program of these words needs; nothing where it is to be started as ever."""
    if sys.platform != "linux" or os.environ.get("OPSDASH_TEST_FORK") == "no" or words[:1] != [sys.executable]:
        return ()
    if words[1] == "-m":
        return () if GREEN & set(words) else MODULES.get(words[2], ())
    return CONSOLE if words[1] == "-c" or words[1].endswith(".py") else ()


def _another_build(path: str) -> bool:
    """The first opsdash of this ``PYTHONPATH`` is not the one that the forking process has imported."""
    folders = (Path(part) for part in path.split(os.pathsep) if part)
    first = next((folder for folder in folders if (folder / "opsdash" / "__init__.py").exists()), ROOT)
    return first.resolve() != ROOT


def _leash() -> list[str]:
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGKILL)), "self"]


def leashed(words: list[str]) -> list[str]:
    """The command of a program that dies with this process, even by ``kill -9``; one that is forked does so anyway."""
    return words if _modules(words) else [*_leash(), *words]


class Popen(subprocess.Popen[Any]):
    """``subprocess.Popen``. What is silenced below: typeshed has only its public names."""

    _told = -1

    def _execute_child(self, args: Any, *rest: Any) -> None:
        # These three methods are where Popen tells systems apart; their arguments are those of 3.11 to 3.14.
        executable, preexec_fn, _close_fds, pass_fds, cwd, env, *_, start_new_session, process_group = rest
        shell, *pipes = rest[8:15]
        words = [args] if isinstance(args, str) else [os.fspath(arg) for arg in args]
        modules = _modules(words)
        environment = dict(os.environ if env is None else env)
        differs = {name: value for name, value in environment.items() if READ_AT_START.match(name)} != OURS
        differs = differs or _another_build(environment.get("PYTHONPATH", ""))
        if executable or preexec_fn or pass_fds or shell or process_group != -1 or differs or not modules:
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        p2cread, _, _, c2pwrite, _, errwrite = pipes
        told, theirs = os.pipe()
        order = {
            "words": words[1:],
            "environment": environment,
            "folder": os.fspath(cwd or os.getcwd()),
            "session": bool(start_new_session),
        }
        ends = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = _server(modules, os.getpid()).start(order, [*ends, theirs])
        finally:
            os.close(theirs)
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._told, self._child_created = told, True

    def _internal_poll(self, *args: Any, **options: Any) -> int | None:
        if self._told == -1:
            return super()._internal_poll(*args, **options)  # type: ignore[misc,no-any-return]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._told == -1:
            return super()._wait(timeout)  # type: ignore[misc,no-any-return]
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with self._waitpid_lock:  # type: ignore[attr-defined]
                if self.returncode is None:
                    self.returncode = int(os.read(self._told, 100))
                    os.close(self._told)
        return self.returncode


def run(
    *args: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **more: Any,
) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run``."""
    if input is not None:
        more["stdin"] = subprocess.PIPE
    if capture_output:
        more["stdout"] = more["stderr"] = subprocess.PIPE
    with Popen(*args, **more) as process:
        try:
            out, errors = process.communicate(input, timeout)
        except BaseException:  # as subprocess.run: Ctrl-C and a time limit leave no program behind
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, errors)
    if check:
        done.check_returncode()
    return done
