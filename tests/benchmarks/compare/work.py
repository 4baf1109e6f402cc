"""How a row is declared: what the work is, who does it and how, and how it is measured once."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stall import other_client
from support import services

import opsdash
from opsdash.services.database import migrations

from .rivals import Driver, NotInstalled, Rivals
from .table import LIMIT, OPSDASH, RIVAL

Found = dict[str, float]
SECRET = "a-key-for-benchmarks-and-nothing-else"


@dataclass(frozen=True)
class Figure:
    """One figure of a work, a row of the table.

    Attributes:
        what: In words; ``{tasks}`` is what ``--tasks`` says.
        more: A greater one is better.
    """

    name: str
    what: str
    unit: str
    more: bool = False


@dataclass(frozen=True)
class Contestant:
    """Who does the work.

    Attributes:
        once: Measures each of its figures once; without it ``why`` says why not.
        only: The one figure that it is about; all of the work's without it.
    """

    name: str
    kind: str
    how: str = ""
    once: Callable[[], Found] | None = None
    why: str = ""
    only: str = ""


@dataclass(frozen=True)
class Work:
    """What is done by all, on the same machine, in the same run.

    Attributes:
        prepare: Starts what is needed; gives who does it.
        rounds: How many without another wish.
        warm: The first round is not counted.
    """

    figures: tuple[Figure, ...]
    prepare: Callable[[Bench], list[Contestant]]
    rounds: int = 7
    warm: bool = False


WORKS: dict[str, Work] = {}
"""Name → work, in the order of the table."""


def work(
    *figures: Figure, rounds: int = 7, warm: bool = False
) -> Callable[[Callable[[Bench], list[Contestant]]], Callable[[Bench], list[Contestant]]]:
    """Declares a row, or several that come from the same rounds."""

    def declare(prepare: Callable[[Bench], list[Contestant]]) -> Callable[[Bench], list[Contestant]]:
        WORKS[prepare.__name__.replace("_", "-")] = Work(figures, prepare, rounds, warm)
        return prepare

    return declare


class Bench:
    """What the rows share: servers that end with the run, consoles, and the rivals' environments."""

    def __init__(self, stack: contextlib.ExitStack, rivals: Rivals, *, quick: bool, tasks: int) -> None:
        self.enter = stack.enter_context
        self.rivals, self.quick, self.tasks = rivals, quick, tasks

    def size(self, full: int, quick: int) -> int:
        """How many, of whatever a row is about."""
        return quick if self.quick else full

    def broker(self) -> services.Valkey:
        """A broker of its own."""
        made = services.Valkey(self.enter(services.folder()))
        made.start()
        self.enter(contextlib.closing(_Killed(made)))
        return made

    def console(self, broker: services.Valkey, *queues: str, database: str = "") -> Any:
        """A console of opsdash on this broker; its audit log is a file of SQLite unless a database is given."""
        url = database or f"sqlite:///{broker.home / 'bench.sqlite3'}"
        migrations.upgrade(url)
        made = opsdash.connect(redis_url=broker.url, database_url=url, secret_key=SECRET, queues=queues or ("celery",))
        return self.enter(contextlib.closing(made))

    def driver(self, environment: str, broker: services.Valkey) -> Driver:
        """A process of the rival's own Python that does as it is asked.

        Raises:
            NotInstalled: Its environment could not be made.
        """
        return self.enter(Driver.started(self.rivals, environment, broker.url))


class _Killed:
    def __init__(self, server: services.Server) -> None:
        self.close = server.kill


def own(name: str, how: str, once: Callable[[], Found]) -> Contestant:
    """opsdash; the first one is what the others are compared with."""
    return Contestant(name, OPSDASH, how, once)


def limit(how: str, once: Callable[[], Found]) -> Contestant:
    """The least that could do it: the bare commands, without a question asked or anything kept."""
    return Contestant("", LIMIT, how, once)


def rival(name: str, how: str, make: Callable[[], Callable[[], Found]], *, only: str = "") -> Contestant:
    """Another product, prepared by ``make``; one that can't be installed, or does not start, says so in the table."""
    try:
        return Contestant(name, RIVAL, how, make(), only=only)
    except NotInstalled as error:
        return Contestant(name, RIVAL, how, why=f"did not install: {error}", only=only)
    except RuntimeError as error:
        return Contestant(name, RIVAL, how, why=f"failed: {error}"[:200], only=only)


def does_not(*names: str, why: str = "", only: str = "") -> list[Contestant]:
    """Other products that have nothing of the kind."""
    return [Contestant(name, RIVAL, why=f"does not{f' ({why})' if why else ''}", only=only) for name in names]


def ms(act: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1_000


def with_stall(url: str, act: Callable[[], float], took: str, stall: str) -> Found:
    """What an act says it took, and the longest that another client of the broker waited meanwhile."""
    with other_client(url) as longest_ms:
        found = act()
    return {took: found, stall: longest_ms()}


def fetched(port: int, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> bytes:
    """The body of an answer, by a connection of its own.

    Raises:
        RuntimeError: It is not a success.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {body[:200]!r}")
    return body


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for this long."""
    with services.folder() as home:
        yield home
