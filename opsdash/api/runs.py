"""``GET /api/v1/runs``: the newest runs of runbooks."""

from __future__ import annotations

import msgspec

from opsdash.api.handler import Handler
from opsdash.api.requests import NoQuery
from opsdash.api.schemas import fields_of
from opsdash.model import to_plain
from opsdash.runs.overview import RunSummary, overview
from opsdash.runs.store import MOST_RUNS, RunStore

RunRead = msgspec.defstruct(
    "RunRead",
    [*fields_of(RunSummary)],
    kw_only=True,
    namespace={
        "__doc__": "One run. ``state``: ``running``, ``done``, ``failed``, ``not taken back``, ``rolled back``, or"
        " ``left behind``: its process is gone. ``step``: where it is; ``done`` of ``of`` steps are over."
        " ``continued_by`` and ``rolled_back_by``: the command to type on the command line; empty: it is not possible."
    },
)


class RunsRead(msgspec.Struct, kw_only=True):
    """The runs that are kept, newest first, at most 100."""

    runs: tuple[RunRead, ...]  # type: ignore[valid-type] # made at run time


class Runs(Handler):
    """Runs of runbooks."""

    async def get(self) -> None:
        """The newest, read now."""
        self.query(NoQuery)
        found = await self.work(lambda: overview(RunStore(self.console.broker), MOST_RUNS))
        self.set_header("Cache-Control", "private, no-cache")
        self.send(msgspec.convert({"runs": [to_plain(one) for one in found]}, RunsRead))
