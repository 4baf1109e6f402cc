"""What one check says, and what a check gets to look at."""

from __future__ import annotations

import enum
import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis

from opsdash.config.broker_url import with_timeouts
from opsdash.services.broker.client import TIMEOUT_S, celery_app
from opsdash.values import frozen

if TYPE_CHECKING:
    from opsdash.services.console import Console

log = logging.getLogger(__name__)


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@frozen(kw_only=True)
class Finding:
    """One line.

    Attributes:
        check: What was looked at, in a word or two.
        todo: What to do about it; empty when there is nothing to do.
        unreachable: Redis or the database does not answer.
    """

    check: str
    level: Level
    message: str
    todo: str = ""
    unreachable: bool = False


Findings = Iterable[Finding]


class Examined:
    """A deployment as its console sees it.

    Attributes:
        full: Look at all of the audit log, not its newest entries.
    """

    def __init__(self, console: Console, *, full: bool = False) -> None:
        self.console = console
        self.full = full

    @functools.cached_property
    def info(self) -> dict[str, Any]:
        """What the server says of itself; asked once."""
        with self.console.broker.reading():
            found: dict[str, Any] = self.console.broker.client.info()
        return found

    @functools.cached_property
    def app(self) -> Any:
        """The deployment's Celery app; None where none is named."""
        settings = self.console.settings
        return celery_app(settings) if settings.celery_app else None

    @contextmanager
    def app_client(self) -> Iterator[redis.Redis]:
        """A client of the app's own broker, as its user; kombu makes the connection, as for a worker.

        Raises:
            redis.RedisError, KombuError, OSError: It can't be reached from here.
        """
        timeouts = with_timeouts(self.app.conf.broker_transport_options, TIMEOUT_S)
        with self.app.connection_for_write(transport_options=timeouts) as connection:
            # Not default_channel: that one tries for ever while the broker is away.
            pool = connection.channel().client.connection_pool
            yield redis.Redis(connection_pool=pool)

    @functools.cached_property
    def app_server(self) -> str:
        """Which run of which server the app's broker is; empty where that can't be asked. Cost: one connection."""
        from kombu.exceptions import KombuError

        try:
            with self.app_client() as client:
                return str(client.info("server").get("run_id", ""))
        except (redis.RedisError, KombuError, OSError) as failure:
            log.debug("the app's broker can't be asked: %s", failure)
            return ""


def ok(check: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, level=Level.OK, message=message)


def warning(check: str, message: str, todo: str) -> Finding:
    """It works, and may not when it matters."""
    return Finding(check=check, level=Level.WARNING, message=message, todo=todo)


def error(check: str, message: str, todo: str, *, unreachable: bool = False) -> Finding:
    """It does not work."""
    return Finding(check=check, level=Level.ERROR, message=message, todo=todo, unreachable=unreachable)


SKEW_S = 2.0
"""Above this, ETAs and expiry times of one machine mean something else on another."""


def skew(who: str, beside: str, skew_s: float) -> Finding:
    """How far a clock is ahead of (or, negative, behind) another one."""
    if abs(skew_s) <= SKEW_S:
        return ok("clocks", f"The clock of {who} is {abs(skew_s):.1f} s from {beside}'s.")
    way = "ahead of" if skew_s > 0 else "behind"
    message = f"The clock of {who} is {abs(skew_s):,.1f} s {way} {beside}'s: ETAs and expiries come at the wrong time."
    return warning("clocks", message, "Run a time service (chrony, systemd-timesyncd) on both machines.")
