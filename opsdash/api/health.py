"""``/readyz``: whether Redis, the database and its tables are there. ``/healthz`` is the server's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
from tornado.web import RequestHandler

from opsdash.api.schemas import Part, Ready
from opsdash.errors import OpsdashError
from opsdash.services.console import Console
from opsdash.services.database import migrations
from opsdash.services.threads import PROBES

log = logging.getLogger(__name__)

SILENT = "does not answer, or refuses; the log says why"
"""For who asks without a token: the services' own sentences name hosts."""


class Probe:
    """Asks the parts; however many ask at once, each part is asked once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: asyncio.Task[Ready] | None = None
        self._logged = ""

    async def check(self) -> Ready:
        """What there is now."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._check())
        return await asyncio.shield(self._running)

    async def _check(self) -> Ready:
        redis, (database, tables) = await asyncio.gather(
            PROBES.run(lambda: self._answers(self._console.broker.ping)), PROBES.run(self._database)
        )
        return Ready(ready=redis.ok and database.ok and tables.ok, redis=redis, database=database, migrations=tables)

    def _answers(self, call: Callable[[], object]) -> Part:
        try:
            call()
        except OpsdashError as error:
            if str(error) != self._logged:  # once, not at every probe of a long outage
                log.warning("not ready: %s", error.explanation)
                self._logged = str(error)
            return Part(ok=False, message=SILENT)
        return Part(ok=True, message="answers")

    def _database(self) -> tuple[Part, Part]:
        found: list[str | None] = []
        part = self._answers(lambda: found.append(migrations.revision(self._console.engine)))
        if not found:
            return part, Part(ok=False, message="not known")
        newest = migrations.head()
        if found[0] == newest:
            return part, Part(ok=True, message=f"the tables are at revision {newest}")
        if migrations.is_newer(found[0]):  # an update is under way, in which this console is to go on working
            return part, Part(ok=True, message=f"the tables are at revision {found[0]}, of a newer opsdash")
        message = f"the tables are at revision {found[0] or 'none'}, expected {newest}; run: opsdash db upgrade"
        return part, Part(ok=False, message=message)


class Readiness(RequestHandler):
    """For probes, without a token: it names no host."""

    def initialize(self, probe: Probe) -> None:
        """Tornado's constructor; ``probe`` lasts as long as the server."""
        self.probe = probe

    async def get(self) -> None:
        """200 when everything is there, else 503; each part in the body."""
        found = await self.probe.check()
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json")
        self.set_status(200 if found.ready else 503)
        self.finish(msgspec.json.encode(found))
