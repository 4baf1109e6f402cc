"""Entries whose process died before it could say how its act went: they become ``unknown``, with what is known."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import redis

from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, Status
from opsdash.services.approvals import Approvals
from opsdash.services.audit import AuditLog
from opsdash.services.broker import Broker

log = logging.getLogger(__name__)

ALIVE_S = 30
"""A running act says this often, at the latest, that its process lives."""
LOOK_S = 10.0


class Unfinished:
    """Marks running acts in Redis, and closes the entries of those that are not running any more.

    Args:
        evidence: Reads what an operation has left behind, for an entry without an outcome.
    """

    def __init__(
        self,
        broker: Broker,
        audit: AuditLog,
        approvals: Approvals,
        evidence: Callable[[AuditEntry], Mapping[str, Any]],
    ) -> None:
        self._broker, self._audit, self._approvals, self._evidence = broker, audit, approvals, evidence
        self._looked_s = float("-inf")
        self._suspects: set[UUID] = set()

    @contextmanager
    def running(self, entry: AuditEntry) -> Iterator[None]:
        """While this lasts, no console takes the act for dead. Cost: one SET, one DEL, and a timer's thread."""
        over = threading.Event()
        key = self._broker.keys.running(str(entry.id))

        def say() -> None:
            try:
                self._broker.client.set(key, "1", ex=ALIVE_S)
            except redis.RedisError as error:  # the act itself finds out, and says so
                log.debug("a running act could not say so: %s", error)
            if not over.is_set():
                timer = threading.Timer(ALIVE_S / 3, say)
                timer.daemon = True
                timers[0] = timer
                timer.start()

        timers: list[threading.Timer | None] = [None]
        say()
        try:
            yield
        finally:
            over.set()
            if timers[0] is not None:
                timers[0].cancel()
            try:
                self._broker.client.delete(key)
            except redis.RedisError as error:
                log.debug("the mark of a finished act ends by its TTL: %s", error)

    def settle(self) -> None:
        """Closes what two looks in a row found dead. Never raises for an outage: the next look tries again."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        try:
            dead = [
                entry
                for entry in self._audit.in_progress(datetime.now(UTC) - timedelta(seconds=ALIVE_S))
                if not self._broker.client.exists(self._broker.keys.running(str(entry.id)))
                and not self._approvals.waits(entry)
            ]
            for entry in dead:
                if entry.id in self._suspects:
                    self._close(entry)
            self._suspects = {entry.id for entry in dead}
        except (OpsdashError, redis.RedisError) as error:
            log.warning("unfinished acts can't be looked at: %s", error)

    def _close(self, entry: AuditEntry) -> None:
        found = dict(self._evidence(entry))
        told = f" {found['message']}" if found.get("message") else ""
        why = "The process that did this ended before it could say how it went."
        if entry.details.get("approval"):
            why = "It needed a second person, and how that ended was not told."
        message = f"{why}{told}"
        self._audit.finish(entry, Status.UNKNOWN, {**found, "message": message})
        log.warning("%s by %s at %s has no outcome: its process is gone", entry.operation, entry.user, entry.timestamp)
