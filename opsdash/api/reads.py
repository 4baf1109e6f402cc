"""``GET /api/v1/…``: what the page shows, for programs, at no more reads of Redis than the page makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from opsdash.api.handler import Handler
from opsdash.api.problems import ProblemError
from opsdash.api.shapes import (
    AuditQuery,
    AuditRead,
    NoQuery,
    OperationRead,
    OperationsRead,
    lasting,
    queues_read,
    request_of,
    status_read,
    workers_read,
)
from opsdash.errors import Invalid, Unavailable
from opsdash.model import Snapshot
from opsdash.operation import registry
from opsdash.services.audit_reading import Page
from opsdash.services.console import Console

FRESH_S = 10.0


class Look(Handler):
    """A part of the latest snapshot.

    The ETag stands for the state, not for the moment it was read: of an idle deployment it stays the same.
    """

    part: Callable[[Snapshot], Any]

    def initialize(self, console: Console, part: Callable[[Snapshot], Any]) -> None:  # type: ignore[override]
        """Tornado's constructor; ``part`` makes the answer from a snapshot."""
        super().initialize(console)
        self.part = part

    async def get(self) -> None:
        """Answers from the poller's latest snapshot; reads one when there is none that is fresh."""
        self.query(NoQuery)
        snapshot = await self.work(lambda: fresh(self.console))
        state = msgspec.json.encode(self.part(lasting(snapshot)))
        self.etag = f'W/"{hashlib.sha256(state).hexdigest()[:32]}"'
        self.set_header("Cache-Control", "private, no-cache")
        self.send(self.part(snapshot))


class Audit(Handler):
    """The audit log."""

    async def get(self) -> None:
        """A page of it, newest first."""
        asked = self.query(AuditQuery)
        after = asked.after or None

        def read() -> tuple[Page | None, int]:
            self.console.audit.drain()
            try:
                page = self.console.audit.page(asked.filter(), limit=asked.limit, after=after)
            except Invalid:
                if after is None:
                    raise
                return None, 0
            return page, self.console.audit.spooled()

        page, spooled = await self.work(read)
        if page is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no-page", "after: this is not the end of a page of this log.")
        self.set_header("Cache-Control", "private, no-cache")
        self.send(AuditRead(entries=page.entries, after=page.after, spooled=spooled))


class Operations(Handler):
    """What can be done."""

    def get(self) -> None:
        """Every operation with the schema of its request, from the registry."""
        self.query(NoQuery)
        self.set_header("Cache-Control", "private, no-cache")
        self.send(
            OperationsRead(
                operations=tuple(
                    OperationRead(
                        name=kind.name,
                        title=kind.title,
                        help=kind.help,
                        warning=kind.warning,
                        minimum_role=kind.minimum_role.name.lower(),  # type: ignore[arg-type]
                        settles=kind.settles,
                        request=msgspec.json.schema(request_of(kind)),
                    )
                    for kind in registry().values()
                )
            )
        )


def fresh(console: Console) -> Snapshot:
    """The poller's latest snapshot, or one read now when that is old.

    Raises:
        Unavailable: Redis has never answered this console.
    """
    latest = console.poller.latest
    if latest is None or (datetime.now(UTC) - latest.taken_at).total_seconds() > FRESH_S:
        latest = console.poller.refresh()
    if latest.redis_age_s is None:
        raise Unavailable(latest.redis_error)
    return latest


LOOKS: dict[str, Callable[[Snapshot], Any]] = {
    "status": status_read,
    "queues": queues_read,
    "workers": workers_read,
}
