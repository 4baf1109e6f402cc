"""Cleans up after a demo whose supervisor was killed. Standard library only, run by its path: it must start at once.

It reads JSON lines from the supervisor on standard input. The end of input without a ``goodbye`` means that the
supervisor died without stopping anything (SIGKILL, out of memory, a bug): every process of the demo is killed and its
temporary folder removed. It inherits the folder's lock, so that no other demo takes the folder before that is done.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

MARK = "OPSDASH_DEMO_ID"
"""Environment variable that every process of a demo carries, with the demo's own id."""
PATIENCE_S = 10.0
_PROC = Path("/proc")


@dataclass(slots=True)
class Estate:
    """What has to be cleaned up.

    Attributes:
        demo_id: Value of `MARK` in every process of this demo.
        remove: Files and folders to remove at the end: a temporary folder, or what must go from a kept one.
        groups: Process groups that are running.
    """

    demo_id: str = ""
    remove: list[str] = field(default_factory=list)
    groups: set[int] = field(default_factory=set)

    def clean(self) -> None:
        """Kills until nothing is left: a process may be between fork and exec while we look."""
        deadline = time.monotonic() + PATIENCE_S
        while self._kill() and time.monotonic() < deadline:
            time.sleep(0.02)
        for path in map(Path, self.remove):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _kill(self) -> bool:
        """One round; says whether it found anything alive."""
        alive = [group for group in self.groups if kill_group(group)]
        marked = marked_processes(self.demo_id) if self.demo_id else []
        for pid in marked:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        # A killed leader that nobody reaps (process 1 of a container may not) keeps its group; /proc knows better.
        return bool(marked) if _PROC.is_dir() else bool(alive)


def kill_group(group: int) -> bool:
    """SIGKILL to a process group; False when there is none. PermissionError is macOS's word for only zombies left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def marked_processes(demo_id: str, name: str = MARK) -> list[int]:
    """Processes of one demo by their environment, this one left out; none where there is no /proc (macOS)."""
    needle = f"{name}={demo_id}".encode()
    found = []
    for entry in _PROC.glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        if needle in environment.split(b"\0") and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def main() -> int:
    """Listens until the supervisor says goodbye or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever stops the demo tells the supervisor; this process goes last
    estate = Estate()
    for line in sys.stdin:
        if not line.endswith("\n"):  # cut short by the supervisor's death
            break
        match json.loads(line):
            case {"goodbye": _}:
                return 0
            case {"demo_id": str(demo_id), "remove": list(remove)}:
                estate.demo_id, estate.remove = demo_id, remove
            case {"started": int(group)}:
                estate.groups.add(group)
            case {"ended": int(group)}:
                estate.groups.discard(group)
    estate.clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
