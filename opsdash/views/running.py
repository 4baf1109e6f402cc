"""What workers run right now: read for open rows, and updated while they are open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial

from opsdash.errors import OpsdashError
from opsdash.operation import Operation
from opsdash.services.threads import READS
from opsdash.views.rows import Row
from opsdash.views.session import Session
from opsdash.views.worker_rows import running_rows

MOST_OPEN = 20
"""Workers of one page that are read: each costs two round trips at every reading of the figures."""


class RunningTasks:
    """The running tasks of one browser session's open rows; only a worker whose tasks have changed is sent again."""

    def __init__(self, session: Session) -> None:
        self._session, self._workers = session, session.console.workers
        self._open: tuple[str, ...] = ()
        self._told: dict[str, dict[str, Row]] = {}
        self._reading = asyncio.Lock()
        session.followers.append(self._follow)

    async def open(self, hostnames: Iterable[str]) -> None:
        """These are open now, and no others.

        Args:
            hostnames: As the browser sent them; of one that nobody knows nothing is known.
        """
        self._open = tuple(dict.fromkeys(hostnames))[:MOST_OPEN]
        self._told = {host: rows for host, rows in self._told.items() if host in self._open}
        await self._tell()

    def _follow(self) -> None:
        if self._open and not self._reading.locked():
            self._session.later(self._tell)

    async def _tell(self) -> None:
        async with self._reading:
            try:
                found = await READS.run(partial(self._read, self._open, dict(self._told)), caller=self._session.caller)
            except OpsdashError:
                return  # the strip says that Redis does not answer; what is shown stays
            for host, rows in found.items():
                if host in self._open and self._told.get(host) != rows:
                    self._told[host] = rows
                    self._session.channel.tell("running", worker=host, rows=rows)

    def _read(self, hostnames: Iterable[str], before: Mapping[str, dict[str, Row]]) -> dict[str, dict[str, Row]]:
        return {
            host: running_rows(self._workers.running(host), may=self._may, before=before.get(host, {}))
            for host in hostnames
        }

    def _may(self, operation: type[Operation]) -> bool:
        return self._session.role >= operation.minimum_role
