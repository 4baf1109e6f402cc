"""Entries whose process died before it could say how its act went: they become ``unknown``, with what is known."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import redis

from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, Status, untrusted
from opsdash.services.broker import writes
from opsdash.services.broker.client import Broker

if TYPE_CHECKING:
    from opsdash.services.audit.approvals import Approvals
    from opsdash.services.audit.log import AuditLog

log = logging.getLogger(__name__)

ALIVE_S = 30
"""A running act says this often, at the latest, that its process lives."""
BEGUN_S = 86_400
"""So long Redis itself knows which acts were begun on it, and an entry that names no broker is left to its own."""
LOOK_S = 10.0
SURE_S = 60
"""A mark that was not renewed for so long, by a Redis that was there all the while, needs no second look: its process
is gone. So a command that looks once closes the entry too."""


class Reaper:
    """Marks running acts in Redis, and closes the entries of those that are not running any more.

    The database may be shared with deployments on other brokers, whose acts have no mark in this Redis: theirs are
    not touched. An operation is this broker's by the broker's name in the entry, or by the mark of its start here: with
    another address, such as a forwarded port, the same broker has another name.

    Args:
        evidence: Reads what an operation has left behind, for an entry without an outcome.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        audit: AuditLog,
        approvals: Approvals,
        evidence: Callable[[AuditEntry], Mapping[str, Any]],
    ) -> None:
        self._broker, self._audit, self._approvals, self._evidence = broker, audit, approvals, evidence
        self._looked_s = float("-inf")
        self._suspects: set[UUID] = set()
        self._lock = threading.Lock()
        self._marks: dict[str, Mapping[str, float]] = {}
        self._keeper: threading.Thread | None = None

    @contextmanager
    def running(self, entry: AuditEntry) -> Iterator[None]:
        """While this lasts, no console takes the act for dead. Cost: two round trips; one thread for all acts."""
        key, begun = self._broker.keys.running(str(entry.id)), self._broker.keys.begun(str(entry.id))
        marks = {key: ALIVE_S, begun: BEGUN_S}
        self._set_marks(marks)
        with self._lock:
            self._marks[key] = marks
            if self._keeper is None or not self._keeper.is_alive():
                self._keeper = threading.Thread(target=self._keep, name="opsdash-running", daemon=True)
                self._keeper.start()
        try:
            yield
        finally:
            with self._lock:
                self._marks.pop(key, None)
            try:
                self._broker.client.delete(key, begun)
            except redis.RedisError as error:
                log.debug("the marks of a finished act end by their TTL: %s", error)

    def _keep(self) -> None:
        """Renews the marks of what runs; ends once nothing has for a while."""
        while True:
            time.sleep(max(0.1, ALIVE_S / 3))
            with self._lock:
                marks = tuple(self._marks.values())
                if not marks:
                    self._keeper = None
                    return
            for one in marks:
                self._set_marks(one)

    def _set_marks(self, marks: Mapping[str, float]) -> None:
        try:
            with self._broker.client.pipeline(transaction=False) as pipe:
                for key, lasts_s in marks.items():
                    writes.ask_put(pipe, key, "1", ms=int(lasts_s * 1000))
                pipe.execute()
        except redis.RedisError as error:  # the act itself finds out, and says so
            log.debug("a running act could not say so: %s", error)

    def close_dead(self) -> None:
        """Closes what two looks in a row found dead, or one that is sure. An outage is not raised: it looks again."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        now = datetime.now(UTC)
        recent = now - timedelta(seconds=BEGUN_S)
        try:
            dead = [
                entry
                for entry in self._audit.in_progress(now - timedelta(seconds=ALIVE_S), others_since=recent)
                if not self._broker.client.exists(self._broker.keys.running(str(entry.id)))
                and (self._is_here(entry) or (entry.broker is None and entry.timestamp < recent))
                and not self._approvals.waits(entry)
            ]
            for entry in dead:
                if entry.id in self._suspects or self._is_surely_dead(entry):
                    self._close(entry)
            self._suspects = {entry.id for entry in dead}
        except (OpsdashError, redis.RedisError) as error:
            log.warning("interrupted operations can't be checked: %s", error)

    def _is_surely_dead(self, entry: AuditEntry) -> bool:
        """Nobody has renewed its marks for ``SURE_S``, and Redis was there to take them. Cost: two round trips."""
        left_ms = int(self._broker.client.pttl(self._broker.keys.begun(str(entry.id))))  # the last renewal shows in it
        up_s = untrusted.whole(self._broker.client.info("server").get("uptime_in_seconds"))
        return left_ms > 0 and BEGUN_S - left_ms / 1000 > SURE_S and up_s is not None and up_s > SURE_S

    def _is_here(self, entry: AuditEntry) -> bool:
        return self._audit.is_here(entry) or bool(self._broker.client.exists(self._broker.keys.begun(str(entry.id))))

    def _close(self, entry: AuditEntry) -> None:
        found = dict(self._evidence(entry)) if self._is_here(entry) else {"message": "It does not say on which broker."}
        evidence = f" {found['message']}" if found.get("message") else ""
        why = "The process that did this ended before it could say how it went."
        if entry.details.get("approval"):
            why = "It needed a second person, and its result is not known."
        message = f"{why}{evidence}"
        self._audit.finish(entry, Status.UNKNOWN, {**found, "message": message})
        log.warning("%s by %s at %s has no outcome: its process is gone", entry.operation, entry.user, entry.timestamp)
