"""Finds the workers of this container and asks them, without the broker: each listens on a socket that has no file.

The socket is one of Linux's abstract ones: it needs no folder that can be written to, ends with its process, and is
seen in the container (the network namespace) only. Its name carries the namespace that its process id counts in, so
that neither a neighbour's worker nor one that had this id before is taken for ours.

Standard library only, and little of it: a preStop hook and a probe start one process each time.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PREFIX = "opsdash.worker"
NAMESPACE = "/proc/self/ns/pid"
SOCKETS = "/proc/net/unix"
"""All of this network namespace, one a line: number, references, protocol, flags, type, state, inode, ``@name``."""
UNCONNECTED = "1"
LISTENS = 0x10000
"""Among the flags: the socket listens (``__SO_ACCEPTCON``)."""
LONGEST_REQUEST, LONGEST_ANSWER = 64, 16_384
ANSWER_S = 2.0
"""How long an answer is waited for: the worker gives it in a millisecond, unless its pool keeps the interpreter."""
_CREDENTIALS = struct.Struct("3i")

NO_LINUX = "needs Linux: only there the worker listens for it"
NO_WORKER = (
    "no worker with opsdash's plug-in runs here: start it with -I opsdash.worker.auto (opsdash 0.2 or later), and run"
    " this in the worker's own container, as the worker's user"
)


class Silent(Exception):  # noqa: N818 - what happened, not a type
    """The worker gave no answer that can be read; says why."""


class Foreign(Silent):
    """It is another user's worker, or none of opsdash's."""


class Place(NamedTuple):
    """Where one worker listens. ``listening``: false until it was connected to its broker for the first time."""

    pid: int
    name: str
    listening: bool


class Found(NamedTuple):
    """A worker of this container, as it answered; ``silence`` says why it did not."""

    place: Place
    hostname: str = ""
    status: Mapping[str, Any] | None = None
    silence: str = ""
    foreign: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return self.hostname or f"the worker of process {self.place.pid}"


def namespace() -> int:
    """Names the namespace of this process's id; 0 where the system has none."""
    try:
        return os.stat(NAMESPACE).st_ino
    except OSError:
        return 0


def place_of(pid: int, instance: str) -> str:
    """The socket's name, without the zero byte in front."""
    return f"{PREFIX}/{namespace()}/{pid}/{instance}"


def places() -> list[Place]:
    """Where the workers of this container listen, by process id. Cost: one file, a line per local socket.

    Raises:
        Silent: The system has no such list.
    """
    head = f"{PREFIX}/{namespace()}/"
    try:
        with open(SOCKETS, encoding="utf-8", errors="replace") as lines:
            found = [place for line in lines if (place := _place(line.split(), head)) is not None]
    except OSError as error:
        raise Silent(NO_LINUX if not sys.platform.startswith("linux") else f"{SOCKETS} can't be read") from error
    return sorted(found)


def _place(fields: list[str], head: str) -> Place | None:
    if len(fields) != 8 or not fields[7].startswith(f"@{head}") or not fields[5].endswith(UNCONNECTED):
        return None  # another one's, or one of its connections
    name = fields[7][1:]
    pid = name[len(head) :].partition("/")[0]
    try:
        return Place(int(pid), name, bool(int(fields[3], 16) & LISTENS))
    except ValueError:  # a foreign socket with a similar name
        return None


def gone(place: Place) -> bool:
    """The worker's process has ended, or has stopped its work there."""
    return all(other.name != place.name for other in places())


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process id, 0 for one of another namespace, and user id of who made the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _group = _CREDENTIALS.unpack(credentials)
    return pid, uid


def send_command(place: Place, command: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """What one worker says.

    Raises:
        Silent: It does not answer, is another user's, or not who its socket's name says.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(f"\0{place.name}")
            pid, uid = peer(connection)
            if pid != place.pid:
                raise Foreign("is not the worker that its socket's name says")
            if os.geteuid() not in (uid, 0):
                raise Foreign(f"runs as user {uid}, this as user {os.geteuid()}: run this as the worker's user")
            connection.sendall(f"{command}\n".encode())
            answer = _read(connection)
    except TimeoutError:
        raise Silent(f"does not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise Silent(f"does not answer ({error.strerror or error})") from error
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Silent("gives an answer that can't be read: is it another version of opsdash?")
    return found


def _read(connection: socket.socket) -> bytes:
    answer = b""
    while len(answer) < LONGEST_ANSWER and (part := connection.recv(LONGEST_ANSWER)):
        answer += part
    return answer


def look() -> list[Found]:
    """The workers of this container that this user may speak to. Cost: one answer each.

    Raises:
        Silent: There is none; says what may be the reason.
    """
    everyone = [_found(place) for place in places()]
    found = [worker for worker in everyone if not worker.foreign]
    if not found:
        raise Silent("; ".join(f"process {worker.place.pid}: {worker.silence}" for worker in everyone) or NO_WORKER)
    return found


def _found(place: Place) -> Found:
    if not place.listening:
        return Found(place)
    try:
        status = send_command(place, "status")
    except Silent as silent:
        return Found(place, silence=str(silent), foreign=isinstance(silent, Foreign))
    return Found(place, hostname=str(status.get("hostname") or ""), status=status)


def choose(found: Sequence[Found], names: Sequence[str], *, everyone: bool) -> list[Found]:
    """The workers that are meant.

    Raises:
        ValueError: It is not clear which one is meant; says what to write.
    """
    here = ", ".join(worker.name for worker in found)
    if names:
        lost = [name for name in names if name not in {worker.hostname for worker in found}]
        # One that starts, or does not answer, may be the one.
        meant = [worker for worker in found if worker.hostname in names or (lost and not worker.hostname)]
        if lost and all(worker.hostname for worker in meant):
            raise ValueError(f"there is no worker {', '.join(lost)} here; there is: {here}")
        return meant
    if len(found) > 1 and not everyone:
        raise ValueError(f"several workers run here: {here}; choose one with --name, or all with --all")
    return list(found)


def print_line(text: str, *, wrong: bool = False) -> None:
    """Prints a line; the reader may have gone, which changes nothing."""
    stream = sys.stderr if wrong else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
