"""Concurrency limits of tasks, for all workers together: how many run, how many wait, by whom and until when."""

from __future__ import annotations

from typing import Any

import param

from opsdash.operations import LimitConcurrency
from opsdash.views.table_view import TableView

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


class ConcurrencyLimits(TableView):
    """Names of which so many tasks run at once; limit, change, remove."""

    heading = "Concurrency limits"
    nothing = "No task has a concurrency limit."
    fields = COLUMNS
    begins = (LimitConcurrency,)

    @param.depends("status.concurrency_limit_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        self._fill(self.status.concurrency_limit_rows)
