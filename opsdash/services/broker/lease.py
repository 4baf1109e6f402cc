"""A lease in Redis: of several consoles one does a thing, and another one goes on soon after that one died."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from opsdash import lua
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker

LEASE_S = 10.0
"""A console that has not renewed its lease for so long has lost it."""
_HOLD = lua.load(__name__, "lease_hold")
_RELEASE = lua.load(__name__, "lease_release")


def _who() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


@dataclass(slots=True)
class Lease:
    """The right of one console to do one thing.

    Attributes:
        key: Gives the key: its prefix may be known later only, from the first worker. ``who``: this console, as the
            key holds it.
        taken: How often this console got it from nobody, or from another one: what it knew from before may be old.
    """

    broker: Broker
    key: Callable[[], str]
    who: str = field(default_factory=_who)
    taken: int = 0
    _until_s: float = float("-inf")  # monotonic

    @property
    def held(self) -> bool:
        """This console has it, by its own clock."""
        return time.monotonic() < self._until_s

    def hold(self) -> bool:
        """Takes or renews it; whether this console has it now. Cost: one script.

        Raises:
            Unavailable: Redis did not answer.
        """
        began = time.monotonic()
        with self.broker.reading():
            answer = int(self.broker.client.eval(_HOLD, 1, self.key(), self.who, int(LEASE_S * 1000)))
        if answer:
            self.taken += answer == 2
            self._until_s = began + LEASE_S
        else:
            self._until_s = float("-inf")
        return bool(answer)

    def lost(self) -> None:
        """Another console has it, as a script has found out."""
        self._until_s = float("-inf")

    def holder(self) -> str:
        """The machine and process that has it; empty: none. Cost: one GETRANGE.

        Raises:
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            return bounded_reads.text(self.broker.client, self.key(), 200).rpartition("/")[0]

    def release(self) -> None:
        """Gives it back, so that another console need not wait. Raises nothing: it ends by itself too."""
        if not self.held:
            return
        self._until_s = float("-inf")
        try:
            self.broker.client.eval(_RELEASE, 1, self.key(), self.who)
        except redis.RedisError:
            return
