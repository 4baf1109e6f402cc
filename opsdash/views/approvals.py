"""Acts that wait for a second person."""

from __future__ import annotations

import param
from panel.viewable import Viewable

from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.view import View

COLUMNS = [
    {"field": "name", "title": "What", "priority": 1},
    {"field": "by", "title": "Asked by", "priority": 1},
    {"field": "at", "title": "Asked (UTC)", "kind": "time", "priority": 2},
    {"field": "surface", "title": "From", "priority": 4},
    {"field": "until", "title": "Ends in", "kind": "left", "priority": 2},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class PendingApprovals(View):
    """Requests for a second person, while there are any; who asked can't approve it."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title="Pending approvals",
            columns=self.shown_columns(COLUMNS),
            empty="Nothing waits for approval.",
            css_classes=["waits"],
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._show()
        return self._table

    @param.depends("status.approval_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is None:
            return
        # The service refuses what the requester approves, so the button is not shown.
        own = self._session.actor.name
        rows = sorted(self.status.approval_rows, key=lambda row: row["at"])
        shown = [{**row, "acts": None} if row["by"] == own else row for row in rows]
        set_changed(self._table, rows=shown, **self.clock())
        if not self._alone:
            self.visible = bool(rows)

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"approval_id": action.key})
