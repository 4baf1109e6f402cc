"""A real ``celery beat``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from support import programs
from support.services import Valkey
from support.workers import PATH, PYTHON


class Beat:
    """A running ``celery beat``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@contextlib.contextmanager
def beat(
    server: Valkey,
    folder: Path,
    *,
    app: str = "support.beat_app:app",
    scheduler: str = "opsdash.beat:Scheduler",
    env: Mapping[str, str] | None = None,
) -> Iterator[Beat]:
    """Gone at the end, whatever happens."""
    log = folder / "beat.log"
    command = [PYTHON, "-m", "celery", "-A", app, "beat", "-S", scheduler]
    command += ["-l", "INFO", "-s", str(folder / "schedule"), "--pidfile="]
    with log.open("wb") as out:
        process = programs.Popen(
            programs.leashed(command),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH), "OPSDASH_REDIS_URL": server.url, **(env or {})},
            start_new_session=True,
        )
    running = Beat(process, log)
    try:
        yield running
    except BaseException as error:
        error.add_note(f"--- log of beat ---\n{running.log[-6_000:]}")
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
