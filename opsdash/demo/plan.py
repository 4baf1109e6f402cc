"""What the demo consists of: each part's command, what it waits for, and how one sees that it is ready."""

from __future__ import annotations

import http.client
import os
import secrets
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import redis

import opsdash
from opsdash.demo import broker, ports
from opsdash.demo.child import Child, Part
from opsdash.demo.folder import Folder
from opsdash.demo.keeper import MARK
from opsdash.demo.ports import HOST, Claim
from opsdash.errors import Invalid, Unavailable
from opsdash.keys import Keys
from opsdash.settings import Settings

QUEUES = ("celery", "emails")
APP = "opsdash.demo.tasks:app"
WORKER_GRACE_S = 12.0
WORKERS = {"worker-prefork": ("prefork", 2), "worker-threads": ("threads", 4)}
"""Name → pool and concurrency; the worker is called NAME@demo."""
_PASSED_ON = ("OPSDASH_PAUSE_TTL_S", "OPSDASH_UNDO_WINDOW_S", "OPSDASH_POLL_INTERVAL_S")
"""The user's own settings that make sense in a demo; every other one (database, roles, proxy) is for a real deployment."""


@dataclass(slots=True)
class Deployment:
    """Addresses and settings of one demo.

    Attributes:
        claim: The page's port.
        external_url: The user's own broker (``OPSDASH_REDIS_URL``); None: the demo starts one.
        broker_port: Of the demo's broker.
        demo_id: Marks every process; prefixes every key on the user's own broker.
    """

    folder: Folder
    claim: Claim
    external_url: str | None
    broker_port: int = field(default_factory=ports.free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    demo_id: str = field(default_factory=lambda: secrets.token_hex(6))
    user_env: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def redis_url(self) -> str:
        """The broker, with its password."""
        return self.external_url or f"redis://:{self.password}@{HOST}:{self.broker_port}/0"

    @property
    def prefix(self) -> str:
        """Of every key: nothing on the demo's own broker."""
        return f"opsdash-demo-{self.demo_id}:" if self.external_url else ""

    @property
    def database_url(self) -> str:
        """SQLite in the data folder."""
        return f"sqlite:///{self.folder.path / 'opsdash.sqlite3'}"

    @property
    def page_url(self) -> str:
        """What the operator opens."""
        return f"http://{HOST}:{self.claim.port}/operations"

    def settings(self) -> dict[str, str]:
        """The demo's settings: for its own processes, and for ``DIR/env``.

        Raises:
            Invalid: The secret key can't be written.
        """
        values = {
            "OPSDASH_REDIS_URL": self.redis_url,
            "OPSDASH_DATABASE_URL": self.database_url,
            "OPSDASH_CELERY_APP": APP,
            "OPSDASH_QUEUES": ",".join(QUEUES),
            "OPSDASH_AUTH": "dev",
            "OPSDASH_ENVIRONMENT": "demo",
            "OPSDASH_SECRET_KEY": Settings(redis_url=self.redis_url, database_url=self.database_url).secret().decode(),
            **{name: self.user_env[name] for name in _PASSED_ON if name in self.user_env},
        }
        return values | ({"OPSDASH_DEMO_PREFIX": self.prefix} if self.prefix else {})

    def env(self) -> dict[str, str]:
        """Environment of every process: the user's, without what is meant for another deployment."""
        kept = {
            # CELERY_BROKER_URL would win over the app's own broker: the demo would work on somebody's real queues.
            name: value
            for name, value in self.user_env.items()
            if not name.startswith(("OPSDASH_", "CELERY_"))
        }
        return kept | {"PYTHONPATH": self._python_path(), "PYTHONUNBUFFERED": "1", MARK: self.demo_id} | self.settings()

    def _python_path(self) -> str:
        """Children run in the data folder: relative entries and the current folder would mean something else there."""
        given = [os.path.abspath(entry) for entry in self.user_env.get("PYTHONPATH", "").split(os.pathsep) if entry]
        home = str(Path(opsdash.__file__).resolve().parent.parent)
        if home not in given and home not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            given.append(home)  # run from a checkout
        return os.pathsep.join(given)


def parts(demo: Deployment, connection: redis.Redis) -> list[Part]:
    """Every process of the demo in the order of starting; it is stopped in the reverse order."""
    base = () if demo.external_url else ("broker",)
    workers = [_worker(demo, connection, name, base) for name in WORKERS]
    return [
        *([] if demo.external_url else [_broker(demo, connection)]),
        Part(
            name="database",
            label="database",
            command=lambda: _python("opsdash.demo.database"),
            ready=lambda child: f"SQLite, migrated; {child.log_text().strip()}",
            once=True,
        ),
        *workers,
        _page(demo, (*base, "database")),
        Part(
            name="producer",
            label="producer",
            command=lambda: _python("opsdash.demo.producer"),
            ready=lambda child: f"feeds {' and '.join(QUEUES)}" if "producing" in child.log_text() else None,
            after=base,
        ),
    ]


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a file in the data folder must not shadow a module.
    return [sys.executable, "-P", "-m", module, *arguments]


def _broker(demo: Deployment, connection: redis.Redis) -> Part:
    program = broker.find_program()

    def ready(_child: Child) -> str | None:
        try:
            return f"{broker.version(connection)} on {HOST}:{demo.broker_port}"
        except redis.RedisError:
            return None

    def again() -> str | None:
        if ports.is_free(demo.broker_port):
            return None
        taken, demo.broker_port = demo.broker_port, ports.free_port()
        connection.connection_pool.connection_kwargs["port"] = demo.broker_port
        return f"somebody took port {taken}; trying {demo.broker_port}"

    return Part(
        name="broker",
        label="broker",
        command=lambda: [str(program), "-"],
        config=lambda: broker.config(demo.broker_port, demo.password),
        ready=ready,
        again=again,
        keeps_going=False,  # the queues were in its memory: a new one would be another demo
    )


def _worker(demo: Deployment, connection: redis.Redis, name: str, after: tuple[str, ...]) -> Part:
    pool, concurrency = WORKERS[name]
    hostname = f"{name}@demo"
    key = Keys(demo.prefix).worker(hostname)

    def ready(child: Child) -> str | None:
        try:
            pushed = connection.hget(key, "time")
        except redis.RedisError:
            return None
        if pushed is None or float(str(pushed)) < child.started_at:  # of the one before it
            return None
        return f"{hostname}, pool {pool}, {concurrency} at a time"

    options = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]  # mingle: a second of waiting for nobody
    command = ["-A", APP, "worker", "--hostname", hostname, "--pool", pool, "--concurrency", str(concurrency)]
    return Part(
        name=name,
        label="worker",
        command=lambda: _python("celery", *command, "--queues", ",".join(QUEUES), *options),
        ready=ready,
        after=after,
        grace_s=WORKER_GRACE_S,
    )


def _page(demo: Deployment, after: tuple[str, ...]) -> Part:
    def ready(_child: Child) -> str | None:
        return f"serves on {HOST}:{demo.claim.port}" if _healthy(demo.claim.port) else None

    def again() -> str | None:
        if ports.is_free(demo.claim.port):
            return None
        taken = demo.claim.port
        demo.claim.move()
        return f"somebody took port {taken}; trying {demo.claim.port}"

    return Part(
        name="page",
        label="page",
        command=lambda: _python("opsdash.cli", "serve", "--port", str(demo.claim.port)),
        ready=ready,
        again=again,
        after=after,
    )


def _healthy(port: int) -> bool:
    # http.client and not urllib: a proxy in the environment is not for this.
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check_external(url: str) -> tuple[str, str]:
    """The user's own broker: its URL for Celery, and what it is.

    Raises:
        Invalid: The URL can't be used.
        Unavailable: It does not answer.
    """
    settings = Settings.from_env({"OPSDASH_REDIS_URL": url})
    if settings.redis_url.startswith("unix:"):
        raise Invalid("OPSDASH_REDIS_URL: the demo needs redis:// or rediss://")
    connection = broker.client(settings.redis_url)
    try:
        return settings.redis_url, f"{broker.version(connection)} at {settings.redis_label}"
    except redis.RedisError as error:
        raise Unavailable(
            f"OPSDASH_REDIS_URL is set, and {settings.redis_label} does not answer; unset it and the demo starts a broker of its own"
        ) from error
    finally:
        connection.close()
