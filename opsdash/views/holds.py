"""Tasks that are held: how many of each, since when, by whom; and the release."""

from __future__ import annotations

import param
from panel.viewable import Viewable

from opsdash.operations import HoldTasks, HoldTenant
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button
from opsdash.views.view import View

COLUMNS = [
    {"field": "name", "title": "Held", "priority": 1},
    {"field": "queue", "title": "Queue", "priority": 3},
    {"field": "count", "title": "Tasks", "kind": "number", "priority": 1},
    {"field": "oldest", "title": "Oldest", "kind": "since", "priority": 2, "help": "How long ago it was set aside"},
    {"field": "until", "title": "Ends in", "kind": "left", "priority": 2},
    {"field": "by", "title": "By", "priority": 3},
    {"field": "reason", "title": "Reason", "priority": 3},
    {"field": "workers", "title": "Workers", "priority": 3, "help": "That hold them, of those that may run them"},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
NOTHING = "Nothing is held."


class Holds(View):
    """Tasks of a name that workers set aside while all others run; hold, release, clear."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        begin = button("Hold Tasks", "pause", on_click=self._dialog.asks(HoldTasks))
        tenant = button("Hold Tenant", "pause", on_click=self._dialog.asks(HoldTenant))
        begin.disabled = tenant.disabled = not self._session.may(HoldTasks)
        self._table = KeyedTable(
            title="Holds",
            actions=[begin, tenant] if self.actions else [],
            columns=self.shown_columns(COLUMNS),
            empty=NOTHING,
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._show()
        return self._table

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(COLUMNS)

    @param.depends("status.hold_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is not None:
            rows = self.status.hold_rows
            note = " ".join(row["note"] for row in rows if row.get("note"))
            set_changed(self._table, rows=rows, note=note, **self.clock())

    async def _act(self, action: RowAction) -> None:
        hold = next((one.hold for one in self.status.holds if one.hold.id == action.key), None)
        if hold is not None and hold.kind == "tenant":
            await self._dialog.ask(action.name, {"tenant": hold.name})
        elif hold is not None:
            await self._dialog.ask(action.name, {"task": hold.name, **({"queue": hold.queue} if hold.queue else {})})
