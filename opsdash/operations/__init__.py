"""The operations, one file each; a file has its operation's name.

Importing this package makes them all known, and those of other packages: each is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opsdash.operation import find_by
from opsdash.operations import plugins

if TYPE_CHECKING:
    from opsdash.operations.add_note import AddNote
    from opsdash.operations.approve import ApproveOperation
    from opsdash.operations.autoscale import Autoscale
    from opsdash.operations.cancel_workflow import CancelWorkflow
    from opsdash.operations.clear_held import ClearHeld
    from opsdash.operations.clear_queue import ClearQueue
    from opsdash.operations.clear_tasks import ClearTasks
    from opsdash.operations.clear_tenant import ClearTenant
    from opsdash.operations.delete_trash import DeleteTrash
    from opsdash.operations.discard_failed import DiscardFailed
    from opsdash.operations.dismiss_worker import DismissWorker
    from opsdash.operations.drain_build import DrainBuild
    from opsdash.operations.edit_failed import EditFailed
    from opsdash.operations.hold_tasks import HoldTasks
    from opsdash.operations.hold_tenant import HoldTenant
    from opsdash.operations.limit_concurrency import LimitConcurrency
    from opsdash.operations.pause_processing import PauseProcessing
    from opsdash.operations.pause_schedule import PauseSchedule
    from opsdash.operations.prune_audit_log import PruneAuditLog
    from opsdash.operations.quiet_worker import QuietWorker
    from opsdash.operations.release_tasks import ReleaseTasks
    from opsdash.operations.release_tenant import ReleaseTenant
    from opsdash.operations.remove_concurrency_limit import RemoveConcurrencyLimit
    from opsdash.operations.remove_rate_limit import RemoveRateLimit
    from opsdash.operations.remove_task import RemoveTask
    from opsdash.operations.resize_pool import ResizePool
    from opsdash.operations.restart_pool import RestartPool
    from opsdash.operations.restore_queue import RestoreQueue
    from opsdash.operations.resume_processing import ResumeProcessing
    from opsdash.operations.resume_schedule import ResumeSchedule
    from opsdash.operations.retry_failed import RetryFailed
    from opsdash.operations.revoke_task import RevokeTask
    from opsdash.operations.run_schedule_now import RunScheduleNow
    from opsdash.operations.set_rate_limit import SetRateLimit
    from opsdash.operations.set_time_limit import SetTimeLimit
    from opsdash.operations.shutdown_worker import ShutdownWorker
    from opsdash.operations.sync_tenant_configs import SyncTenantConfigs
    from opsdash.operations.wake_build import WakeBuild
    from opsdash.operations.wake_worker import WakeWorker

_HOMES = {
    "AddNote": "add_note",
    "ApproveOperation": "approve",
    "Autoscale": "autoscale",
    "CancelWorkflow": "cancel_workflow",
    "ClearHeld": "clear_held",
    "ClearQueue": "clear_queue",
    "ClearTasks": "clear_tasks",
    "ClearTenant": "clear_tenant",
    "DeleteTrash": "delete_trash",
    "DiscardFailed": "discard_failed",
    "DismissWorker": "dismiss_worker",
    "DrainBuild": "drain_build",
    "EditFailed": "edit_failed",
    "HoldTasks": "hold_tasks",
    "HoldTenant": "hold_tenant",
    "LimitConcurrency": "limit_concurrency",
    "PauseProcessing": "pause_processing",
    "PauseSchedule": "pause_schedule",
    "PruneAuditLog": "prune_audit_log",
    "QuietWorker": "quiet_worker",
    "ReleaseTasks": "release_tasks",
    "ReleaseTenant": "release_tenant",
    "RemoveConcurrencyLimit": "remove_concurrency_limit",
    "RemoveRateLimit": "remove_rate_limit",
    "RemoveTask": "remove_task",
    "ResizePool": "resize_pool",
    "RestartPool": "restart_pool",
    "RestoreQueue": "restore_queue",
    "ResumeProcessing": "resume_processing",
    "ResumeSchedule": "resume_schedule",
    "RetryFailed": "retry_failed",
    "RevokeTask": "revoke_task",
    "RunScheduleNow": "run_schedule_now",
    "SetRateLimit": "set_rate_limit",
    "SetTimeLimit": "set_time_limit",
    "ShutdownWorker": "shutdown_worker",
    "SyncTenantConfigs": "sync_tenant_configs",
    "WakeBuild": "wake_build",
    "WakeWorker": "wake_worker",
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
    "DeleteTrash",
    "DiscardFailed",
    "DismissWorker",
    "DrainBuild",
    "EditFailed",
    "HoldTasks",
    "HoldTenant",
    "LimitConcurrency",
    "PauseProcessing",
    "PauseSchedule",
    "PruneAuditLog",
    "QuietWorker",
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
    "WakeBuild",
    "WakeWorker",
]


def __getattr__(name: str) -> Any:
    """Imports an operation when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'opsdash.operations' has no attribute {name!r}")
    return getattr(import_module(f"opsdash.operations.{_HOMES[name]}"), name)


find_by(plugins.find)
