"""What the operator sees: Panel views that show state and hand clicks on. No rules, no I/O."""

from __future__ import annotations

from opsdash.views.page import operations_page
from opsdash.views.widgets import (
    Console,
    OperationControls,
    QueueChart,
    QueueTable,
    RecentOperations,
    TenantDrift,
    WorkerHealth,
)

__all__ = [
    "Console",
    "OperationControls",
    "QueueChart",
    "QueueTable",
    "RecentOperations",
    "TenantDrift",
    "WorkerHealth",
    "operations_page",
]
