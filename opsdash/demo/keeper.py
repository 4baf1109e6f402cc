"""Cleans up after a demo whose supervisor was killed. Standard library only, run by its path: it must start at once.

It leads the process group that every process of the demo is in. Standard input is a pipe from the supervisor, and its
end means that the supervisor is gone: the group is killed, then the paths among the arguments are removed. It inherits
the folder's lock, so that no other demo takes the folder before that is done. After an orderly stop the supervisor
kills what is left of the group, this process included.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE_S = 2.0
"""Zombies that nobody reaps (process 1 of a container may not) stay in the group."""


def kill_group(group: int) -> bool:
    """SIGKILL to a process group; False when there is none. PermissionError is macOS's word for only zombies left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def remove(paths: Iterable[Path]) -> None:
    """Removes files and folders; what is gone already is fine."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def main() -> None:
    """Listens until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor handles signals; this process ends last
    group = os.getpgrp()
    sys.stdin.read()
    if os.fork():
        signal.pause()  # until the child, which leaves the group, kills all that is in it
    os.setpgid(0, 0)
    deadline = time.monotonic() + PATIENCE_S
    # Again and again: the supervisor may have died while it was starting a process.
    while kill_group(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    remove(map(Path, sys.argv[1:]))


if __name__ == "__main__":
    main()
