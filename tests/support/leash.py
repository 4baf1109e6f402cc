"""Runs a server that dies with the process that started it, SIGKILL included. Standard library only.

``python leash.py OWNER_PID SIGNAL ROLE PROGRAM ARGUMENT…`` becomes PROGRAM. ROLE says as whom:

- ``self``: as the user who calls.
- ``namespace``: root becomes user 1000 inside a user namespace of its own (PostgreSQL refuses to run as root).
- ``nobody``: root becomes nobody.

A launcher of its own, because ``preexec_fn`` may deadlock under threads and Python 3.12 warns of it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def enter_namespace() -> None:
    """Makes this root process user 1000 in a new user namespace; its files stay root's outside."""
    gid = os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
    Path("/proc/self/uid_map").write_text("1000 0 1")


def become_nobody() -> None:
    """Gives up root for good."""
    import pwd

    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def main(owner: int, signum: int, role: str, command: list[str]) -> None:
    if role == "namespace":
        enter_namespace()
    elif role == "nobody":
        become_nobody()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)  # last: a change of credentials clears it
        if os.getppid() != owner:
            sys.exit("whoever started this is gone already")
        os.execv(command[0], command)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while sys.stdin.buffer.read(1):  # macOS: the owner holds the other end of this pipe until it dies
        pass
    child.send_signal(signum)
    child.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
