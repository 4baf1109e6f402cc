"""One demo: its addresses and settings, which a second terminal gets too, and the processes that it consists of."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from functools import cached_property
from typing import TYPE_CHECKING

import click

from opsdash.config.settings import Settings
from opsdash.demo import APP, QUEUES, broker
from opsdash.demo.broker import HOST
from opsdash.demo.folder import Folder
from opsdash.demo.supervisor import Child, Part
from opsdash.keys import Keys

if TYPE_CHECKING:
    import redis  # takes a tenth of a second: the page starts before that

WORKERS = {"worker-prefork": ("prefork", 2), "worker-threads": ("threads", 4)}
"""Name → pool and concurrency; the worker is called NAME@demo."""
_PASSED_ON = ("OPSDASH_PAUSE_TTL_S", "OPSDASH_UNDO_WINDOW_S", "OPSDASH_POLL_INTERVAL_S")
"""The user's settings that make sense in a demo; every other one (database, roles, proxy) is for a real deployment."""


class Deployment:
    """Addresses, settings and parts of one demo.

    Args:
        port: Where the page should be.
        external_url: The user's own broker (``OPSDASH_REDIS_URL``); empty: none.

    Attributes:
        port: Where the page is.
        external: The user's own broker, for people; empty: the demo starts one.
        prefix: Of every key on the user's own broker; empty on the demo's.

    Raises:
        Invalid: The URL can't be used, or no program of a broker is found.
        Unavailable: The user's own broker does not answer.
    """

    def __init__(self, *, folder: Folder, port: int, external_url: str = "") -> None:
        self.folder = folder
        self.port = free_port(port)
        self.broker_port, self.password = free_port(), secrets.token_urlsafe(18)
        self.redis_url, self.external = f"redis://:{self.password}@{HOST}:{self.broker_port}/0", ""
        if external_url:
            self.redis_url, self.external = broker.check_external(external_url)
        else:
            self.program = broker.find_program()
        self.database_url = f"sqlite:///{folder.path / 'opsdash.sqlite3'}"
        self.prefix = f"opsdash-demo-{secrets.token_hex(6)}:" if external_url else ""

    @cached_property
    def client(self) -> redis.Redis:
        """Of the broker; it decodes to str."""
        return broker.client(self.redis_url)

    @property
    def page_url(self) -> str:
        """What the operator opens."""
        return f"http://{HOST}:{self.port}/operations"

    def settings(self) -> dict[str, str]:
        """The demo's settings: for its own processes, and for ``DIR/env``.

        Raises:
            Invalid: One of the user's own settings is wrong.
        """
        values = {
            "OPSDASH_REDIS_URL": self.redis_url,
            "OPSDASH_DATABASE_URL": self.database_url,
            "OPSDASH_CELERY_APP": APP,
            "OPSDASH_QUEUES": ",".join(QUEUES),
            "OPSDASH_AUTH": "dev",
            "OPSDASH_ENVIRONMENT": "demo",
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
        # The processes run in the data folder, where a relative entry of the user's PYTHONPATH means something else.
        path = os.pathsep.join(filter(None, sys.path))
        return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "TMPDIR": str(self.folder.temp), **self.settings()}

    def close(self) -> None:
        """Removes what the demo left on the user's own broker: keys that begin with its own random prefix.

        Cost: one SCAN over the broker, in steps of 1,000.
        """
        from redis import RedisError

        with self.client:
            try:
                for key in self.client.scan_iter(match=f"{self.prefix}*", count=1_000) if self.prefix else ():
                    self.client.unlink(key)
            except RedisError:
                click.echo(f"The broker does not answer: keys that begin with {self.prefix} stay on it.")

    def parts(self) -> list[Part]:
        """Every process of the demo; the queues are in the memory of its own broker, so that one is vital."""
        own_broker = Part(
            name="broker",
            command=lambda: [str(self.program), "-"],
            stdin=broker.config(self.broker_port, self.password),
            ready=lambda _child: f"answers on {HOST}:{self.broker_port}" if self.client.ping() else None,
            vital=True,
        )
        page = Part(
            name="page",
            command=self._page_command,
            at_once=True,
            # Its own word, and not an answer on its port: that could be another demo's page.
            ready=lambda child: f"serves on {HOST}:{self.port}" if "Serving" in child.log_text() else None,
        )
        producer = Part(
            name="producer",
            command=lambda: _python("opsdash.demo.producer"),
            ready=lambda child: f"feeds {' and '.join(QUEUES)}" if "producing" in child.log_text() else None,
        )
        beat = Part(
            name="beat",
            command=self._beat_command,
            ready=lambda child: "sends on schedule" if "beat: Starting" in child.log_text() else None,
        )
        # The page first: its start takes longest.
        return [*([] if self.external else [own_broker]), page, *map(self._worker, WORKERS), producer, beat]

    def _worker(self, name: str) -> Part:
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
        )

    def _beat_command(self) -> list[str]:
        file = str(self.folder.path / "celerybeat-schedule")
        options = ["--schedule", file, "--pidfile", "", "--loglevel", "INFO"]
        return _python("celery", "-A", APP, "beat", "--scheduler", "opsdash.beat:Scheduler", *options)

    def _page_command(self) -> list[str]:
        """Two demos that start together both find 5006 free; the slower page ends, and gets another port."""
        self.port = free_port(self.port)
        return _python("opsdash.cli.demo_page", str(self.port))


def free_port(wanted: int = 0) -> int:
    """The wanted port, or if a server could not listen on it now (on loopback) any other."""
    try:
        with socket.create_server((HOST, wanted)) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        if not wanted:
            raise
        return free_port()


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a file in the data folder must not shadow a module.
    return [sys.executable, "-P", "-m", module, *arguments]
