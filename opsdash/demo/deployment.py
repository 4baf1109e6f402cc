"""One demo: its addresses and settings, which a second terminal gets too, and the processes that it consists of."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import sysconfig
from pathlib import Path

import redis

import opsdash
from opsdash.config.settings import Settings
from opsdash.demo import APP, QUEUES, broker
from opsdash.demo.broker import HOST
from opsdash.demo.folder import Folder
from opsdash.demo.supervisor import Child, Part
from opsdash.keys import Keys

WORKERS = {"worker-prefork": ("prefork", 2), "worker-threads": ("threads", 4)}
"""Name → pool and concurrency; the worker is called NAME@demo."""
WORKER_GRACE_S = 12.0
PAGE_GRACE_S = 10.0
"""It takes a second; on a machine with ten other things to do, four."""
_PASSED_ON = ("OPSDASH_PAUSE_TTL_S", "OPSDASH_UNDO_WINDOW_S", "OPSDASH_POLL_INTERVAL_S")
"""The user's settings that make sense in a demo; every other one (database, roles, proxy) is for a real deployment."""


class Deployment:
    """Addresses, settings and parts of one demo.

    Args:
        port: Where the page should be.
        external_url: The user's own broker (``OPSDASH_REDIS_URL``); empty: the demo starts one.

    Attributes:
        port: Where the page is.
        prefix: Of every key on the user's own broker; empty on the demo's.
    """

    def __init__(self, *, folder: Folder, port: int, external_url: str = "") -> None:
        self.folder = folder
        self.port = port if is_free(port) else free_port()
        self.external = bool(external_url)
        self.broker_port, self.password = free_port(), secrets.token_urlsafe(18)
        self.redis_url = external_url or f"redis://:{self.password}@{HOST}:{self.broker_port}/0"
        self.prefix = f"opsdash-demo-{secrets.token_hex(6)}:" if external_url else ""
        self.client = broker.client(self.redis_url)

    @property
    def page_url(self) -> str:
        """What the operator opens."""
        return f"http://{HOST}:{self.port}/operations"

    def settings(self) -> dict[str, str]:
        """The demo's settings: for its own processes, and for ``DIR/env``.

        Raises:
            Invalid: One of the user's own settings is wrong, or the secret key can't be written.
        """
        database_url = f"sqlite:///{self.folder.path / 'opsdash.sqlite3'}"
        values = {
            "OPSDASH_REDIS_URL": self.redis_url,
            "OPSDASH_DATABASE_URL": database_url,
            "OPSDASH_CELERY_APP": APP,
            "OPSDASH_QUEUES": ",".join(QUEUES),
            "OPSDASH_AUTH": "dev",
            "OPSDASH_ENVIRONMENT": "demo",
            "OPSDASH_SECRET_KEY": Settings(redis_url=self.redis_url, database_url=database_url).secret().decode(),
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        }
        Settings.from_env(values)  # a wrong one that is passed on is said now, by its name
        return values | ({"OPSDASH_DEMO_PREFIX": self.prefix} if self.prefix else {})

    def env(self) -> dict[str, str]:
        """Environment of every process: the user's, without what is meant for another deployment."""
        kept = {
            # CELERY_BROKER_URL would win over the app's own broker: the demo would work on real queues.
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPSDASH_", "CELERY_"))
        }
        # The processes run in the data folder: relative entries and the current folder mean something else there.
        path = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        home = str(Path(opsdash.__file__).resolve().parent.parent)
        if home not in {*path, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            path.append(home)  # run from a checkout
        own = {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "TMPDIR": str(self.folder.temp)}
        return kept | own | self.settings()

    def remove_keys(self) -> bool:
        """Removes what the demo left on the user's own broker: keys that begin with its own random prefix.

        Cost: one SCAN over the broker, in steps of 1,000. False: the broker did not answer, and keys may be left.
        """
        try:
            for key in self.client.scan_iter(match=f"{self.prefix}*", count=1_000) if self.prefix else ():
                self.client.unlink(key)
        except redis.RedisError:
            return False
        return True

    def parts(self) -> list[Part]:
        """Every process of the demo, in the order of starting.

        The page takes longest (about 3 s of imports), so it starts at once and has one core for itself; the others
        follow each other on the second one.
        """
        base = () if self.external else ("broker",)
        return [
            *([] if self.external else [self._broker()]),
            Part(
                name="database",
                command=lambda: _python("opsdash.demo.database"),
                ready=lambda child: f"SQLite, migrated; {' '.join(child.last_lines(1))}",
                once=True,
            ),
            *(self._worker(name, after=(*base, "database")) for name in WORKERS),
            Part(
                name="page",
                command=lambda: _python("opsdash", "serve", "--port", str(self.port)),
                # Its own word, and not an answer on its port: that could be another demo's page.
                ready=lambda child: f"serves on {HOST}:{self.port}" if "Serving" in child.log_text() else None,
                again=self._move,
                after=base,
                grace_s=PAGE_GRACE_S,
            ),
            Part(
                name="producer",
                command=lambda: _python("opsdash.demo.producer"),
                ready=lambda child: f"feeds {' and '.join(QUEUES)}" if "producing" in child.log_text() else None,
                after=tuple(WORKERS),
            ),
        ]

    def _broker(self) -> Part:
        return Part(
            name="broker",
            command=lambda: [str(broker.find_program()), "-"],
            stdin=broker.config(self.broker_port, self.password),
            ready=lambda _child: f"{broker.version(self.client)} on {HOST}:{self.broker_port}",
            vital=True,  # the queues are in its memory: with a new one it would be another demo
        )

    def _worker(self, name: str, *, after: tuple[str, ...]) -> Part:
        pool, concurrency = WORKERS[name]
        host = f"{name}@demo"

        def ready(child: Child) -> str | None:
            report = self.client.hget(Keys(self.prefix).worker(host), "pid")  # of this process, or of the one before it
            return f"{host}, pool {pool}, {concurrency} at a time" if report == str(child.process.pid) else None

        options = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]  # mingle: a second of waiting
        command = ["-A", APP, "worker", "--hostname", host, "--pool", pool, "--concurrency", str(concurrency)]
        return Part(
            name=name,
            command=lambda: _python("celery", *command, "--queues", ",".join(QUEUES), *options),
            ready=ready,
            after=after,
            grace_s=WORKER_GRACE_S,
        )

    def _move(self) -> str | None:
        """Two demos that start together both find 5006 free; the slower page ends, and gets another port."""
        if is_free(self.port):
            return None
        taken, self.port = self.port, free_port()
        return f"port {taken} is in use; trying {self.port}"


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    try:
        # As the servers do, with SO_REUSEADDR: a port would stay "taken" for a minute after its last connection.
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a file in the data folder must not shadow a module.
    return [sys.executable, "-P", "-m", module, *arguments]
