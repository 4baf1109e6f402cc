"""The operations, one file each. Importing this package registers them all, and those of other packages."""

from opsdash.operations import plugins
from opsdash.operations.approve import ApproveOperation
from opsdash.operations.cancel_workflow import CancelWorkflow
from opsdash.operations.clear_held import ClearHeld
from opsdash.operations.clear_queue import ClearQueue
from opsdash.operations.clear_tasks import ClearTasks
from opsdash.operations.delete_trash import DeleteTrash
from opsdash.operations.discard_failed import DiscardFailed
from opsdash.operations.dismiss_worker import DismissWorker
from opsdash.operations.edit_failed import EditFailed
from opsdash.operations.hold_tasks import HoldTasks
from opsdash.operations.hold_tenant import HoldTenant
from opsdash.operations.pause_processing import PauseProcessing
from opsdash.operations.prune_audit_log import PruneAuditLog
from opsdash.operations.quiet_worker import QuietWorker
from opsdash.operations.release_tasks import ReleaseTasks
from opsdash.operations.release_tenant import ReleaseTenant
from opsdash.operations.remove_task import RemoveTask
from opsdash.operations.restore_queue import RestoreQueue
from opsdash.operations.resume_processing import ResumeProcessing
from opsdash.operations.retry_failed import RetryFailed
from opsdash.operations.revoke_task import RevokeTask
from opsdash.operations.sync_tenant_configs import SyncTenantConfigs
from opsdash.operations.wake_worker import WakeWorker

__all__ = [
    "ApproveOperation",
    "CancelWorkflow",
    "ClearHeld",
    "ClearQueue",
    "ClearTasks",
    "DeleteTrash",
    "DiscardFailed",
    "DismissWorker",
    "EditFailed",
    "HoldTasks",
    "HoldTenant",
    "PauseProcessing",
    "PruneAuditLog",
    "QuietWorker",
    "ReleaseTasks",
    "ReleaseTenant",
    "RemoveTask",
    "RestoreQueue",
    "ResumeProcessing",
    "RetryFailed",
    "RevokeTask",
    "SyncTenantConfigs",
    "WakeWorker",
]

plugins.load(__path__)
