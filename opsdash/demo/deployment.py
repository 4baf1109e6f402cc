"""One demo's addresses and settings: what its processes, and a second terminal, find in their environment."""

from __future__ import annotations

import os
import secrets
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import redis

import opsdash
from opsdash.config import broker_url
from opsdash.config.settings import Settings
from opsdash.demo import broker, ports
from opsdash.demo.folder import Folder
from opsdash.demo.keeper import MARK
from opsdash.demo.ports import HOST, Claim
from opsdash.errors import Invalid, Unavailable

# Said again here and not imported from opsdash.demo.tasks: that would load Celery into the supervisor. A test compares.
QUEUES = ("celery", "emails")
APP = "opsdash.demo.tasks:app"
_PASSED_ON = ("OPSDASH_PAUSE_TTL_S", "OPSDASH_UNDO_WINDOW_S", "OPSDASH_POLL_INTERVAL_S")
"""The user's settings that make sense in a demo; every other one (database, roles, proxy) is for a real deployment."""


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
    _client: tuple[str, redis.Redis] | None = None

    @property
    def redis_url(self) -> str:
        """The broker, with its password."""
        return self.external_url or f"redis://:{self.password}@{HOST}:{self.broker_port}/0"

    def client(self) -> redis.Redis:
        """A client of the broker, the same one until the broker moves."""
        if self._client is None or self._client[0] != self.redis_url:
            self._client = self.redis_url, broker.client(self.redis_url)
        return self._client[1]

    def close(self) -> None:
        """Gives up the page's port and the connection to the broker."""
        self.claim.release()
        if self._client:
            self._client[1].close()

    def remove_keys(self) -> int | None:
        """Removes what the demo left on the user's own broker; says how many keys, None when it did not answer.

        Only keys that begin with this demo's own random prefix. Cost: one SCAN over the broker, in steps of 1,000.
        """
        if not self.prefix:
            return 0
        removed = 0
        try:
            for key in self.client().scan_iter(match=f"{self.prefix}*", count=1_000):
                removed += int(self.client().unlink(key))
        except redis.RedisError:
            return None
        return removed

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
            Invalid: One of the user's own settings is wrong, or the secret key can't be written.
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
        Settings.from_env(values)  # a wrong one that is passed on is said now, by its name
        return values | ({"OPSDASH_DEMO_PREFIX": self.prefix} if self.prefix else {})

    def env(self) -> dict[str, str]:
        """Environment of every process: the user's, without what is meant for another deployment."""
        kept = {
            # CELERY_BROKER_URL would win over the app's own broker: the demo would work on somebody's real queues.
            name: value
            for name, value in self.user_env.items()
            if not name.startswith(("OPSDASH_", "CELERY_"))
        }
        own = {
            "PYTHONPATH": self._python_path(),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.folder.temp),
            MARK: self.demo_id,
        }
        return kept | own | self.settings()

    def _python_path(self) -> str:
        """Children run in the data folder: relative entries and the current folder would mean something else there."""
        given = [os.path.abspath(entry) for entry in self.user_env.get("PYTHONPATH", "").split(os.pathsep) if entry]
        home = str(Path(opsdash.__file__).resolve().parent.parent)
        if home not in given and home not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            given.append(home)  # run from a checkout
        return os.pathsep.join(given)


def check_external(url: str) -> tuple[str, str]:
    """The user's own broker: its URL for Celery, and what it is.

    Raises:
        Invalid: The URL can't be used.
        Unavailable: It does not answer.
    """
    settings = Settings.from_env({"OPSDASH_REDIS_URL": url})
    address = broker_url.read(settings.redis_url)
    if address.path or address.master_name or address.options:  # Celery alone could not take it
        raise Invalid(
            "the demo needs redis:// or rediss://, with no options but those of TLS", setting="OPSDASH_REDIS_URL"
        )
    connection = broker.client(settings.redis_url)
    try:
        return settings.redis_url, f"{broker.version(connection)} at {settings.redis_label}"
    except redis.RedisError as error:
        raise Unavailable(
            f"OPSDASH_REDIS_URL is set, and {settings.redis_label} does not answer",
            hint="Unset it, and the demo starts a broker of its own",
            silent=True,
        ) from error
    finally:
        connection.close()
