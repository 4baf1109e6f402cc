"""opsdash's own connection to the broker's Redis."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import redis
from kombu.exceptions import KombuError

from opsdash.config.broker_url import with_timeouts
from opsdash.keys import Keys

TIMEOUT_S = 2.0
LINK_ERRORS: tuple[type[Exception], ...] = (redis.RedisError, KombuError, OSError)
"""What a broken, slow or forbidden connection raises. Everything else is a bug."""


def describe_error(error: BaseException) -> str:
    """An error for the log: redis-py 8 leaves its text out of ``repr``."""
    return f"{type(error).__name__}: {error}"


class Link:
    """A plain Redis client beside Celery's, opened when first used.

    kombu makes the connection (so Sentinel, TLS, sockets and credential providers work as they do for the worker),
    with its own timeouts: kombu has none by default, and a listener that hangs on a dead socket gets no pause. The
    client on top is redis-py's, because kombu's prefixes only some commands' keys (not MGET's); ``keys`` carries the
    prefix.

    Thread-safe, except ``close``: only the thread that reads from it may close it, since a closed socket's number is
    reused by the next one.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._connection: Any = None
        self._client: redis.Redis | None = None
        self.keys = Keys()

    @property
    def redis(self) -> redis.Redis:
        """The client.

        Raises:
            LINK_ERRORS: The broker doesn't answer.
        """
        with self._lock:
            if self._client is None:
                timeouts = with_timeouts(self._app.conf.broker_transport_options, TIMEOUT_S)
                self._connection = self._app.connection_for_read(transport_options=timeouts)
                # Not default_channel: that one tries for ever while the broker is away.
                channel = self._connection.channel()
                self.keys = Keys(prefix=channel.global_keyprefix or "")
                self._client = redis.Redis(connection_pool=channel.client.connection_pool)
            return self._client

    def close(self) -> None:
        """Drops the connection; the next use opens a new one, and asks Sentinel again."""
        with self._lock:
            connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*LINK_ERRORS):  # it was broken: that is why it goes
                connection.release()
