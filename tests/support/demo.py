"""A running ``opsdash demo``, as a second terminal sees it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from support import programs, services

START_S = 90


@contextlib.contextmanager
def running_demo(folder: Path) -> Iterator[dict[str, str]]:
    """Starts a demo in ``folder`` and gives what ``source demo/env`` sets; nothing of it is left at the end."""
    log, data = folder / "demo.log", folder / "demo"
    arguments = ["demo", "--no-browser", "--port", str(services.free_port()), "--data-dir", str(data)]
    with log.open("w") as out:
        process = programs.Popen(
            [sys.executable, "-m", "opsdash", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while "\nready\n" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text())
            time.sleep(0.2)
        lines = (data / "env").read_text().splitlines()
        yield dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
