"""What the operator sees: Panel views that show state and hand clicks on. No rules, no I/O."""

from __future__ import annotations

from opsdash.views.console_page import Console
from opsdash.views.controls import OperationControls
from opsdash.views.operations_log import RecentOperations
from opsdash.views.page import operations_page
from opsdash.views.queue_charts import QueueChart
from opsdash.views.queues import QueueTable
from opsdash.views.tenants import TenantDrift
from opsdash.views.workers import WorkerHealth

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
