"""Rate limits of tasks, for all workers together."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.model import RateLimit
from opsdash.operations import RemoveRateLimit, SetRateLimit
from opsdash.operations.chosen_workers import shown
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.text import shown_rate
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button
from opsdash.views.rows import Row, act, known
from opsdash.views.view import View

COLUMNS: list[dict[str, Any]] = [
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "rate", "title": "Rate", "priority": 1},
    {"field": "by", "title": "Set by", "priority": 3},
    {"field": "until", "title": "Ends in", "kind": "left", "priority": 2},
    {"field": "workers", "title": "Share of each worker", "priority": 3},
    {"field": "reason", "title": "Reason", "priority": 3},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class RateLimits(View):
    """How often tasks may start, by whom and until when; read again with each reading of the status."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        limit = button("Set Rate Limit", "clock", on_click=self._dialog.asks(SetRateLimit))
        limit.disabled = not self._session.may(SetRateLimit)
        self._table = KeyedTable(
            title="Rate limits",
            columns=self.shown_columns(COLUMNS),
            actions=[limit] if self.actions else [],
            empty="No task has a rate limit.",
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._read_soon()
        return self._table

    @param.depends("status.read_at", watch=True)
    def _read_soon(self) -> None:
        if self._table is not None:
            self._session.later(self._read)

    async def _read(self) -> None:
        async with self._session.turn("rate limits") as mine:
            if not mine or self._table is None:
                return  # a newer one waits already
            try:
                limits = await READS.run(self._session.console.rate_limits, caller=self._session.caller)
            except OpsdashError as error:
                set_changed(self._table, note=error.explanation, **self.clock())
            else:
                acts = [act(RemoveRateLimit, "Remove", "The limit ends now", usual=True)]
                rows = [limit_row(limit, acts if self._session.may(RemoveRateLimit) else None) for limit in limits]
                set_changed(self._table, rows=rows, note="", **self.clock())

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"task": action.key})


def limit_row(limit: RateLimit, acts: list[Row] | None) -> Row:
    """One rate limit as a row of a table."""
    shares = (f"{host} {shown_rate(per_s)}" for host, per_s in sorted(limit.shares.items()))
    return known(
        key=limit.task,
        called=limit.task,
        name=limit.task,
        rate=limit.rate,
        by=limit.by or None,
        until=round(limit.expires_at.timestamp()) if limit.expires_at else None,
        workers=shown(shares) or "none follows it",
        reason=limit.reason or None,
        acts=acts,
    )
