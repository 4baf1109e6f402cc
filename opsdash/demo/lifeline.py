"""The supervisor's end of the pipe to the keeper."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opsdash.demo import keeper


class Lifeline:
    """Keeps a keeper process informed of what it would have to clean up; starts a new one when it dies.

    Args:
        demo_id: The demo's id, in every process's environment.
        remove: Files and folders that the keeper removes.
        lock: File descriptor of the folder's lock, shared with the keeper.
        env: Environment of the keeper.
    """

    def __init__(self, *, demo_id: str, remove: Iterable[Path], lock: int, env: Mapping[str, str]) -> None:
        self._about = {"demo_id": demo_id, "remove": [str(path) for path in remove]}
        self._lock = lock
        self._env = dict(env)
        self._groups: set[int] = set()
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The keeper's process."""
        return self._process.pid

    def started(self, group: int) -> None:
        """A process group is part of the demo now."""
        self._groups.add(group)
        self._tell({"started": group})

    def ended(self, group: int) -> None:
        """A process group is gone: its number may soon be somebody else's."""
        self._groups.discard(group)
        self._tell({"ended": group})

    def check(self) -> None:
        """Replaces a keeper that somebody killed."""
        if self._process.poll() is not None:
            self._close()
            self._process = self._start()

    def goodbye(self) -> None:
        """Everything is stopped and removed: the keeper ends without doing anything."""
        self._tell({"goodbye": True})
        self._close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        # -I -S: neither site-packages nor the user's variables; ready in some 15 ms.
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, "-I", "-S", str(Path(keeper.__file__))],
            stdin=subprocess.PIPE,
            bufsize=0,  # nothing is left in a buffer for close() to fail on when the keeper is dead
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._env,
            cwd="/",
            start_new_session=True,
            pass_fds=(self._lock,),
        )
        self._write(process, self._about)
        for group in sorted(self._groups):
            self._write(process, {"started": group})
        return process

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._write(self._process, message)

    def _close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()

    @staticmethod
    def _write(process: subprocess.Popen[bytes], message: Mapping[str, Any]) -> None:
        if process.stdin is None or process.stdin.closed:
            return
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
        except OSError:  # it was killed: `check` starts another one, which is told everything again
            return
