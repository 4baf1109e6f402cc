"""Queues, with what waits in each and what may be done to it; and clears that can be undone."""

from __future__ import annotations

from typing import Any

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.peek import Peek
from opsdash.views.rows import PEEK
from opsdash.views.view import View

COLUMNS = [
    {"field": "name", "title": "Queue", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 1},
    {"field": "waiting", "title": "Waiting", "kind": "number", "priority": 1},
    {"field": "oldest", "title": "Oldest", "kind": "since", "least": "oldest_at_least", "priority": 2},
    {
        "field": "wait",
        "title": "Time in queue",
        "kind": "state",
        "rank": "wait_s",
        "priority": 3,
        "help": "From sending, or the ETA, to the start: 95 % of the last 5 minutes' tasks took at most this",
    },
    {"field": "rate", "title": "Started/s", "kind": "rate", "priority": 3, "help": "Over the last 10 seconds"},
    {"field": "spark", "title": "Last 15 min", "kind": "spark", "priority": 4},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
CLEARED = [
    {"field": "at", "title": "Cleared (UTC)", "kind": "time", "priority": 1},
    {"field": "queue", "title": "Queue", "priority": 1},
    {"field": "count", "title": "Tasks", "kind": "number", "priority": 1},
    {"field": "size", "title": "Size", "kind": "bytes", "priority": 4},
    {"field": "by", "title": "By", "priority": 3},
    {"field": "until", "title": "Undo ends in", "kind": "left", "priority": 2},
    {"field": "state", "title": "State", "priority": 3},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class QueueTable(View):
    """Queues with what waits in each; pause, resume, peek and clear where the role allows them."""

    _table: KeyedTable | None = None
    _peek: Peek | None = None

    queues = param.List(default=[], item_type=str, doc="Only these; empty: all that are known.")

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title="Queue Operations",
            columns=self.shown_columns(COLUMNS),
            selectable=True,
            empty="No queue is known yet.",
            theme=self.param.theme,
        )
        self._show()
        self._table.param.watch(self._chosen_in_table, "selected")
        self._table.on_action(self._act)
        self._column = pn.Column(self._table, margin=0, sizing_mode="stretch_width")
        return self._column

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(COLUMNS)

    def _rows(self) -> list[dict[str, Any]]:
        rows = self.status.queue_rows
        return [row for row in rows if row["key"] in self.queues] if self.queues else rows

    @param.depends("status.queue_rows", "status.redis_error", "status.stalled_s", "queues", "queue", watch=True)
    def _show(self) -> None:
        if self._table is not None:
            set_changed(
                self._table,
                rows=self._rows(),
                selected=self.queue,
                note=f"Chosen: {self.queue}" if self.queue else "",
                **self.clock(),
            )

    def _chosen_in_table(self, event: param.parameterized.Event) -> None:
        if self.status.queue(event.new) is not None:
            self.queue = event.new

    async def _act(self, action: RowAction) -> None:
        if action.name == PEEK:
            if self._peek is None:  # most pages are left without a look
                self._peek = Peek(session=self._session, actions=self.actions, theme=self.theme)
            if await self._peek.look(action.key):
                with pn.io.hold():
                    if self._peek not in self._column:
                        self._column.append(self._peek)
                    self._peek.open()
        else:
            await self._dialog.ask(action.name, {"queue": action.key})


class ClearedTasks(View):
    """Clears that can be undone, while there are any."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title="Cleared Tasks",
            columns=self.shown_columns(CLEARED),
            empty="The trash is empty.",
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._show()
        return self._table

    @param.depends("status.trash_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is not None:
            set_changed(self._table, rows=self.status.trash_rows, **self.clock())
            if not self._alone:  # on the page it is there only when there is something to undo
                self.visible = bool(self.status.trash_rows)

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"trash_id": action.key})
