"""Which process a report is of: a hostname alone may be that of two, and that of one that is dead."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = "/proc/self/ns/pid"
GONE_STATES = ("Z", "X", "x")
"""States of proc(5) in which a process runs nothing any more: it only waits to be noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One start of one process.

    Attributes:
        instance: Hexadecimal, new at each start.
        machine: A hash of boot and pid namespace: where it is the same, process ids mean the same; empty: not known.
        pid_started: When that process began, in clock ticks since the boot; empty: not known.
    """

    instance: str
    machine: str
    pid: int
    pid_started: str

    def fields(self) -> dict[str, str]:
        """As a report carries them."""
        return {
            "instance": self.instance,
            "machine": self.machine,
            "pid": str(self.pid),
            "pid_started": self.pid_started,
        }

    def outlives(self, machine: str, pid: str, pid_started: str) -> bool:
        """It is proven that the other process has ended: on this machine nobody has its id, or a later process has."""
        if not self.machine or machine != self.machine or not (pid.isascii() and pid.isdigit()):
            return False
        if int(pid) == self.pid:  # an earlier worker of this very process
            return pid_started == self.pid_started
        now = _started(int(pid))
        return now is None or bool(now and pid_started and now != pid_started)


def identify() -> Identity:
    """This process, as one that has just started."""
    pid = os.getpid()
    return Identity(instance=secrets.token_hex(8), machine=_machine(), pid=pid, pid_started=_started(pid) or "")


def _machine() -> str:
    try:
        where = f"{BOOT.read_text().strip()} {os.readlink(NAMESPACE)}"
    except OSError:  # not Linux, or a /proc that is closed: then nothing is proven here
        return ""
    return hashlib.sha256(where.encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the boot; None: there is none; empty: unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return ""
    fields = stat.rpartition(b")")[2].split()  # its name, in brackets, may hold anything
    if len(fields) < 20:
        return ""
    return None if fields[0].decode(errors="replace") in GONE_STATES else fields[19].decode(errors="replace")
