"""The app's result backend: whether it has a task's result. Only where the app says which; nothing is unpickled."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opsdash.config.settings import Settings
from opsdash.errors import OpsdashError, Unavailable
from opsdash.model import untrusted
from opsdash.redaction import masked
from opsdash.services.broker.client import celery_app
from opsdash.services.database.time_limit import TimeLimit
from opsdash.text import as_text

WAIT_S = 2.0
"""Celery's own limit for a Redis that does not answer is two minutes."""
READ_BYTES = 64 * 1024
"""Of one stored result: its status is at the beginning."""
READY = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"})
"""Statuses of a task that has ended. Others, such as ``STARTED`` and ``RETRY``, are stored on the way."""
UNREADABLE = "unreadable"
_STATUS = re.compile(r'^\s*\{[^{}]{0,200}?"status"\s*:\s*"([A-Z_]{1,40})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """What the result backend has of a task.

    Attributes:
        status: Celery's word; ``unreadable``: something is there, and not in JSON.
        ended_at: When it was stored as ended, in UTC; None where it does not say.
    """

    status: str
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """The task has ended."""
        return self.status in READY


@dataclass(frozen=True, slots=True)
class Results:
    """Looks into the app's result backend, where that stores results by a key.

    A database is not looked into: its rows hold pickled results. Nor are ``rpc://`` results: to read one takes it away.
    """

    settings: Settings
    _limit: TimeLimit = field(default_factory=lambda: TimeLimit("The result backend", wait_s=WAIT_S))

    @property
    def why_not(self) -> str:
        """Why it is not looked into; empty: it is.

        Raises:
            Invalid: The app can't be loaded.
        """
        from celery.backends.base import BaseKeyValueStoreBackend, DisabledBackend

        if self.settings.celery_app is None:
            return "no app is set (OPSDASH_CELERY_APP), so the result backend is not known"
        backend = celery_app(self.settings).backend
        if isinstance(backend, DisabledBackend):
            return "the app has no result backend"
        if not isinstance(backend, BaseKeyValueStoreBackend):
            return f"results in {type(backend).__name__} are not looked into"
        return ""

    def look(self, task_id: str) -> StoredResult | None:
        """What it has of a task; None: nothing, which says nothing of one whose result was ignored or has expired.

        Cost: one or two round trips to it.

        Raises:
            Unavailable: It did not answer within ``WAIT_S``, or raised an error.
        """
        return self._limit.run(lambda: self._read(task_id))

    def _read(self, task_id: str) -> StoredResult | None:
        try:
            backend = celery_app(self.settings).backend
            stored = _start_of(backend, backend.get_key_for_task(task_id))
        except OpsdashError:
            raise
        except Exception as error:  # of the app's own backend, which may raise anything
            why = masked(as_text(repr(error)))[:300]
            raise Unavailable(f"The result backend answered with an error: {why}.") from error
        if not stored:
            return None
        text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
        meta = untrusted.mapping(untrusted.parsed(text, READ_BYTES))
        status = untrusted.words(meta.get("status"), 40)
        if not status and (found := _STATUS.match(text)):
            status = found[1]
        return StoredResult(status=status or UNREADABLE, ended_at=untrusted.moment(meta.get("date_done")))


def _start_of(backend: Any, key: Any) -> Any:
    """What is stored under a key; of Redis its beginning alone, since a result can be of any size."""
    from celery.backends.redis import RedisBackend

    if isinstance(backend, RedisBackend):
        return backend.client.getrange(key, 0, READ_BYTES - 1)
    return backend.get(key)
