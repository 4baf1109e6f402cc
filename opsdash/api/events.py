"""``GET /api/v1/events``: every snapshot as a server-sent event, as the page gets it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from tornado.iostream import StreamClosedError

from opsdash.api.handler import Handler
from opsdash.api.problems import ProblemError
from opsdash.api.reads import View
from opsdash.api.requests import NoQuery
from opsdash.capacity import Capacity, Full
from opsdash.config.addresses import neighbourhood
from opsdash.model import Snapshot
from opsdash.services.console import Console

HEARTBEAT_S = 15.0
"""A comment this often, so that proxies don't take silence for death and a client that is gone is noticed."""
BUSY_S = 30
"""When to ask for a stream again."""


class Events(Handler):
    """A subscription to the poller that lasts as long as its client."""

    def initialize(self, console: Console, view: View, streams: Capacity) -> None:  # type: ignore[override]
        """Tornado's constructor; ``view`` is the status's, ``streams`` the server's."""
        super().initialize(console)
        self.view = view
        self.streams = streams

    async def get(self) -> None:
        """Sends the latest snapshot at once, then each new one; a slow reader gets the newest, not all."""
        self.query(NoQuery)
        # Each role has its own share of an address: a viewer's program takes no place of an admin's beside it.
        role = self.actor.role
        holders = (f"token {self.actor.name}", f"{role!r} at {neighbourhood(self.actor.client)}")
        if full := self.streams.take(role, *holders):
            raise self._busy(full)
        self._latest: Snapshot | None = None
        self._news = asyncio.Event()
        loop = asyncio.get_running_loop()
        unsubscribe = self.console.poller.subscribe(lambda snapshot: _hand(loop, self._offer, snapshot))
        try:
            await self._stream()
        except StreamClosedError:
            return  # the client has gone: that is how a stream ends
        finally:
            unsubscribe()
            self.streams.leave(*holders)

    def _busy(self, full: Full) -> ProblemError:
        if full is Full.OWN:
            detail = f"This token or address has {self.streams.each:,} streams open already (OPSDASH_MAX_STREAMS_EACH)."
            status, kind = HTTPStatus.TOO_MANY_REQUESTS, "too-many"
        else:
            detail = "The limit of open streams for this token's role is reached (OPSDASH_MAX_STREAMS); try later."
            status, kind = HTTPStatus.SERVICE_UNAVAILABLE, "busy"
        return ProblemError(status, kind, detail, headers={"Retry-After": str(BUSY_S)})

    def on_connection_close(self) -> None:
        """The client has gone."""
        super().on_connection_close()
        if hasattr(self, "_news"):
            self._news.set()

    async def _stream(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store, no-transform")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep events back otherwise
        self.write("retry: 2000\n\n")
        await self.flush()
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), HEARTBEAT_S)
            except TimeoutError:
                self.write(": alive\n\n")
            self._news.clear()
            if self._latest is not None:
                body, _ = self.view.of(self._latest)
                head = f"id: {self._latest.taken_at.isoformat()}\nevent: snapshot\ndata: "
                self.write(head.encode() + body + b"\n\n")
                self._latest = None
            await self.flush()

    def _offer(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        self._news.set()


def _hand(loop: asyncio.AbstractEventLoop, offer: object, snapshot: Snapshot) -> None:
    """From the poller's thread; a loop that has ended has nobody to tell."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(offer, snapshot)  # type: ignore[arg-type]
