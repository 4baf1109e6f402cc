"""Rate limits of tasks, for all workers together."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Viewable

from opsdash.operations import SetRateLimit
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button
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
    """How often tasks may start, by whom and until when."""

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
        self._show()
        return self._table

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(COLUMNS)

    @param.depends("status.rate_limit_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is not None:
            set_changed(self._table, rows=self.status.rate_limit_rows, **self.clock())

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"task": action.key})
