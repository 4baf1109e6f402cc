"""What workers run right now: read for open rows by a periodic callback, and updated while they are open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn

from opsdash.errors import OpsdashError
from opsdash.services.threads import READS
from opsdash.views.rows import Row
from opsdash.views.worker_rows import running_rows

if TYPE_CHECKING:
    from opsdash.views.session import Session

EVERY_MS = 2_000
"""A worker reports so often: reading more often tells nothing new."""
MOST_OPEN = 20
"""Workers of one page that are read: each costs two round trips at every reading."""


class RunningTasks:
    """The running tasks of one view's open rows.

    Args:
        session: Whose turns, console and role.
        tell: Called with a worker's key and its tasks as rows, when they have changed.
    """

    def __init__(self, session: Session, tell: Callable[[str, list[Row]], None]) -> None:
        self._session, self._tell = session, tell
        self._open: tuple[str, ...] = ()
        self._told: dict[str, dict[str, Row]] = {}
        self._reading = asyncio.Lock()
        self._timer: Any = None

    def open(self, keys: Iterable[str]) -> None:
        """These are open now, and no others.

        Args:
            keys: As the browser sent them; of one that nobody knows nothing is known.
        """
        managed = [key for key in keys if not key.startswith("other:")]
        self._open = tuple(dict.fromkeys(managed))[:MOST_OPEN]
        self._told = {key: rows for key, rows in self._told.items() if key in self._open}
        if self._open and self._timer is None and self._session.has_turns:
            self._timer = pn.state.add_periodic_callback(self.read_soon, EVERY_MS)
        if self._open:
            self.read_soon()
        elif self._timer is not None:
            self._timer.stop()
            self._timer = None

    def tell_again(self, key: str) -> None:
        """Reads soon, and tells of this one even where nothing has changed: what shows it is new."""
        self._told.pop(key, None)
        self.read_soon()

    def read_soon(self) -> None:
        """Reads once, in the next turn; where there is neither a server nor a kernel that is all there is."""
        if self._open:
            self._session.later(self._read)

    async def _read(self) -> None:
        if not self._open or self._reading.locked() or self._session.closed:
            return
        async with self._reading:
            wanted, before = self._open, dict(self._told)
            try:
                found = await READS.run(partial(self._rows, wanted, before), caller=self._session.caller)
            except OpsdashError:
                return  # the strip says that Redis does not answer; what is shown stays
            for key, rows in found.items():
                if key in self._open and self._told.get(key) != rows:
                    self._told[key] = rows
                    self._tell(key, [{**row, "key": task} for task, row in rows.items()])

    def _rows(self, keys: Iterable[str], before: Mapping[str, dict[str, Row]]) -> dict[str, dict[str, Row]]:
        workers, may = self._session.console.workers, self._session.may
        return {key: running_rows(workers.running(key), may=may, before=before.get(key, {})) for key in keys}
