"""The operations, one file each. Importing this package registers them all, and those of other packages."""

from opsdash.operations import plugins
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

plugins.load(__path__)
