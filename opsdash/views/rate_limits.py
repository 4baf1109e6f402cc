"""Rate limits of tasks, for all workers together."""

from __future__ import annotations

from typing import Any

import param

from opsdash.operations import SetRateLimit
from opsdash.views.table_view import TableView

COLUMNS: list[dict[str, Any]] = [
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "rate", "title": "Rate", "priority": 1},
    {"field": "by", "title": "Set by", "priority": 3},
    {"field": "until", "title": "Ends in", "kind": "left", "priority": 2},
    {"field": "workers", "title": "Share of each worker", "priority": 3},
    {"field": "reason", "title": "Reason", "priority": 3},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class RateLimits(TableView):
    """How often tasks may start, by whom and until when."""

    heading = "Rate limits"
    nothing = "No task has a rate limit."
    fields = COLUMNS
    begins = (SetRateLimit,)

    @param.depends("status.rate_limit_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        self._fill(self.status.rate_limit_rows)
