"""``GET /api/v1/tenants``: how many tasks each tenant has."""

from __future__ import annotations

from opsdash.api.handler import Handler
from opsdash.api.requests import NoQuery
from opsdash.services.threads import FINDS, caller_of

FRESH_S = 5.0
"""What was read so long ago, for whomever, is given to the next one who asks."""


class Tenants(Handler):
    """The tasks of each tenant."""

    async def get(self) -> None:
        """Read now, or a few seconds ago."""
        self.query(NoQuery)
        read = await self.work(lambda: self.console.tenant_tasks.read(FRESH_S), pool=(FINDS, caller_of(self.actor)))
        self.set_header("Cache-Control", "private, no-cache")
        self.send(read)
