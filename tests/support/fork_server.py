"""Starts Python programs by fork from a process that has imported what they need: in 30 ms instead of a second.

``python fork_server.py SOCKET MODULE…`` imports the modules, then answers each order that comes by its socket: a line
of JSON, and the program's stdin, stdout, stderr and a pipe for its exit code. A program is a process of its own, with
its own arguments, environment, folder and, where asked for, session; it dies with this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
LARGEST_ORDER = 1_000_000
"""Bytes."""
ADDED = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
INITIAL_PATH = [part for part in sys.path[1:] if part not in ADDED]


def serve(orders: socket.socket) -> dict[str, Any] | None:
    """Answers orders with the process id; returns the order in each new process, and None at the end."""
    running: dict[int, int] = {}
    ended, wake = os.pipe()
    for end in (ended, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    parent = os.getpid()
    while True:
        text, given, *_ = receive(orders, ended, running)
        if not text:
            return None
        order = json.loads(text)
        begun, begins = os.pipe()
        if pid := os.fork():
            running[pid] = given.pop()
            for end in (*given, begins):
                os.close(end)
            os.read(begun, 1)  # its session is made: whoever has the number may kill the group
            os.close(begun)
            orders.send(str(pid).encode())
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if order["session"]:
            os.setsid()
        for number, end in enumerate(given[:3]):
            os.dup2(end, number)
        os.closerange(3, 1_024)
        return order


def receive(orders: socket.socket, ended: int, running: dict[int, int]) -> tuple[bytes, list[int], int, Any]:
    """The next order; tells meanwhile who has ended."""
    while True:
        ready, _, _ = select.select([orders, ended], [], [])
        if ended in ready:
            os.read(ended, 1_000)
            tell(running)
        if orders in ready:
            return socket.recv_fds(orders, LARGEST_ORDER, 4)


def tell(running: dict[int, int]) -> None:
    """Writes the exit code of each process that has ended into its pipe."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        told = running.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)


def become(order: dict[str, Any]) -> None:
    """Makes this process the program that was ordered, as if it had just been started, and runs it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    tempfile.tempdir = None  # TMPDIR may be another one
    encoding = os.environ.get("PYTHONIOENCODING") or "utf-8"
    # Silenced: typeshed calls the originals final.
    read, write, tell = io.FileIO(0, "rb"), io.FileIO(1, "wb"), io.FileIO(2, "wb")
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(read), encoding)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(write), encoding, line_buffering=os.isatty(1), write_through=at_once
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(tell), encoding, "backslashreplace", line_buffering=True
    )
    first, *words = order["words"]
    if {"OPSDASH_TEST_MUTANT", "OPSDASH_TEST_COVERED"} & set(os.environ):
        sys.path.append(str(Path(__file__).parents[1]))
        from mutants import swap

        swap.begin()
    added = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if first == "-m":
        sys.path[:] = [os.getcwd(), *added, *INITIAL_PATH]
        sys.argv = ["-m", *words[1:]]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[:] = ["", *added, *INITIAL_PATH]
        sys.argv = ["-c", *words[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.path[:] = [os.path.dirname(os.path.abspath(first)), *added, *INITIAL_PATH]
        sys.argv = [first, *words]
        runpy.run_path(first, run_name="__main__")


def main() -> None:
    number, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    order = serve(socket.socket(fileno=int(number)))
    if order:
        become(order)


if __name__ == "__main__":
    main()
