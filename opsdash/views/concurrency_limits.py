"""Concurrency limits of tasks, for all workers together: how many run, how many wait, by whom and until when."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Viewable

from opsdash.operations import LimitConcurrency
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button
from opsdash.views.view import View

COLUMNS: list[dict[str, Any]] = [
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "most", "title": "At once", "kind": "number", "priority": 1},
    {"field": "running", "title": "Running", "kind": "number", "priority": 1},
    {"field": "waiting", "title": "Waiting", "kind": "number", "priority": 1, "help": "Set aside until a slot is free"},
    {"field": "oldest", "title": "Oldest", "kind": "since", "priority": 3, "help": "How long ago it was set aside"},
    {"field": "by", "title": "Set by", "priority": 3},
    {"field": "until", "title": "Ends in", "kind": "left", "priority": 2},
    {"field": "workers", "title": "Running in", "priority": 3},
    {"field": "reason", "title": "Reason", "priority": 4},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class ConcurrencyLimits(View):
    """Names of which so many tasks run at once; limit, change, remove."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        limit = button("Limit Concurrency", "clock", on_click=self._dialog.asks(LimitConcurrency))
        limit.disabled = not self._session.may(LimitConcurrency)
        self._table = KeyedTable(
            title="Concurrency limits",
            columns=self.shown_columns(COLUMNS),
            actions=[limit] if self.actions else [],
            empty="No task has a concurrency limit.",
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._show()
        return self._table

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(COLUMNS)

    @param.depends("status.concurrency_limit_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is not None:
            rows = self.status.concurrency_limit_rows
            note = " ".join(row["note"] for row in rows if row.get("note"))
            set_changed(self._table, rows=rows, note=note, **self.clock())

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"task": action.key})
