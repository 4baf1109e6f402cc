"""opsdash: the operations console for Celery on Redis.

Public names are imported when first used: a Celery worker that loads ``opsdash.worker`` runs this file too, and must
not pay for Panel, Param, pandas or SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from opsdash.bootstrap import connect
    from opsdash.errors import Invalid, NeedsApproval, OpsdashError, PhraseMissing, Refused, Unavailable, Uncertain
    from opsdash.operations import (
        AddNote,
        ApproveOperation,
        Autoscale,
        CancelWorkflow,
        ClearHeld,
        ClearQueue,
        ClearTasks,
        ClearTenant,
        DeleteTrash,
        DiscardFailed,
        DismissWorker,
        DrainBuild,
        EditFailed,
        HoldTasks,
        HoldTenant,
        LimitConcurrency,
        PauseProcessing,
        PauseSchedule,
        PruneAuditLog,
        QuietWorker,
        ReleaseTasks,
        ReleaseTenant,
        RemoveConcurrencyLimit,
        RemoveRateLimit,
        RemoveTask,
        ResizePool,
        RestartPool,
        RestoreQueue,
        ResumeProcessing,
        ResumeSchedule,
        RetryFailed,
        RevokeTask,
        RunScheduleNow,
        SetRateLimit,
        SetTimeLimit,
        ShutdownWorker,
        SyncTenantConfigs,
        WakeBuild,
        WakeWorker,
    )
    from opsdash.views import (
        Console,
        OperationControls,
        QueueChart,
        QueueTable,
        RecentOperations,
        TenantDrift,
        WorkerHealth,
    )
    from opsdash.views.identity import PeerAddress

_HOMES = {
    "connect": "opsdash.bootstrap",
    "AddNote": "opsdash.operations",
    "ApproveOperation": "opsdash.operations",
    "HoldTasks": "opsdash.operations",
    "HoldTenant": "opsdash.operations",
    "LimitConcurrency": "opsdash.operations",
    "PauseProcessing": "opsdash.operations",
    "PruneAuditLog": "opsdash.operations",
    "ResumeProcessing": "opsdash.operations",
    "ClearHeld": "opsdash.operations",
    "ClearQueue": "opsdash.operations",
    "ClearTasks": "opsdash.operations",
    "ClearTenant": "opsdash.operations",
    "CancelWorkflow": "opsdash.operations",
    "ReleaseTasks": "opsdash.operations",
    "ReleaseTenant": "opsdash.operations",
    "RemoveTask": "opsdash.operations",
    "RestoreQueue": "opsdash.operations",
    "DeleteTrash": "opsdash.operations",
    "DismissWorker": "opsdash.operations",
    "RetryFailed": "opsdash.operations",
    "DiscardFailed": "opsdash.operations",
    "EditFailed": "opsdash.operations",
    "SyncTenantConfigs": "opsdash.operations",
    "RevokeTask": "opsdash.operations",
    "QuietWorker": "opsdash.operations",
    "DrainBuild": "opsdash.operations",
    "WakeBuild": "opsdash.operations",
    "PauseSchedule": "opsdash.operations",
    "ResumeSchedule": "opsdash.operations",
    "RunScheduleNow": "opsdash.operations",
    "WakeWorker": "opsdash.operations",
    "RemoveConcurrencyLimit": "opsdash.operations",
    "RemoveRateLimit": "opsdash.operations",
    "SetRateLimit": "opsdash.operations",
    "Autoscale": "opsdash.operations",
    "ResizePool": "opsdash.operations",
    "RestartPool": "opsdash.operations",
    "SetTimeLimit": "opsdash.operations",
    "ShutdownWorker": "opsdash.operations",
    "OpsdashError": "opsdash.errors",
    "Invalid": "opsdash.errors",
    "PhraseMissing": "opsdash.errors",
    "NeedsApproval": "opsdash.errors",
    "Refused": "opsdash.errors",
    "Unavailable": "opsdash.errors",
    "Uncertain": "opsdash.errors",
    "Console": "opsdash.views",
    "OperationControls": "opsdash.views",
    "PeerAddress": "opsdash.views.identity",
    "QueueChart": "opsdash.views",
    "QueueTable": "opsdash.views",
    "RecentOperations": "opsdash.views",
    "TenantDrift": "opsdash.views",
    "WorkerHealth": "opsdash.views",
}

__all__ = [
    "AddNote",
    "ApproveOperation",
    "Autoscale",
    "CancelWorkflow",
    "ClearHeld",
    "ClearQueue",
    "ClearTasks",
    "ClearTenant",
    "Console",
    "DeleteTrash",
    "DiscardFailed",
    "DismissWorker",
    "DrainBuild",
    "EditFailed",
    "HoldTasks",
    "HoldTenant",
    "Invalid",
    "LimitConcurrency",
    "NeedsApproval",
    "OperationControls",
    "OpsdashError",
    "PauseProcessing",
    "PauseSchedule",
    "PeerAddress",
    "PhraseMissing",
    "PruneAuditLog",
    "QueueChart",
    "QueueTable",
    "QuietWorker",
    "RecentOperations",
    "Refused",
    "ReleaseTasks",
    "ReleaseTenant",
    "RemoveConcurrencyLimit",
    "RemoveRateLimit",
    "RemoveTask",
    "ResizePool",
    "RestartPool",
    "RestoreQueue",
    "ResumeProcessing",
    "ResumeSchedule",
    "RetryFailed",
    "RevokeTask",
    "RunScheduleNow",
    "SetRateLimit",
    "SetTimeLimit",
    "ShutdownWorker",
    "SyncTenantConfigs",
    "TenantDrift",
    "Unavailable",
    "Uncertain",
    "WakeBuild",
    "WakeWorker",
    "WorkerHealth",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    """Imports a public name from its home on first use (PEP 562)."""
    if name in _HOMES:
        try:
            return getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            from opsdash import installed

            if line := installed.missing(error):
                raise ImportError(f"opsdash.{name}: {line}") from None
            raise
    raise AttributeError(f"module 'opsdash' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, for completion."""
    return __all__
