"""Tasks that are held: how many of each, since when, by whom; and the release."""

from __future__ import annotations

import param

from opsdash.operations import HoldTasks, HoldTenant
from opsdash.views.components import RowAction
from opsdash.views.table_view import TableView

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


class Holds(TableView):
    """Tasks of a name that workers set aside while all others run; hold, release, clear."""

    heading = "Holds"
    nothing = "Nothing is held."
    fields = COLUMNS
    begins = (HoldTasks, HoldTenant)
    icon = "pause"

    @param.depends("status.hold_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        self._fill(self.status.hold_rows)

    async def _act(self, action: RowAction) -> None:
        hold = next((one.hold for one in self.status.holds if one.hold.id == action.key), None)
        if hold is not None and hold.kind == "tenant":
            await self._dialog.ask(action.name, {"tenant": hold.name})
        elif hold is not None:
            await self._dialog.ask(action.name, {"task": hold.name, **({"queue": hold.queue} if hold.queue else {})})
