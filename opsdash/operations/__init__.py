"""The operations, one file each. Importing this package registers them all."""

from opsdash.operations.approve import ApproveOperation
from opsdash.operations.clear_queue import ClearQueue
from opsdash.operations.clear_tasks import ClearTasks
from opsdash.operations.delete_trash import DeleteTrash
from opsdash.operations.pause_processing import PauseProcessing
from opsdash.operations.prune_audit_log import PruneAuditLog
from opsdash.operations.restore_queue import RestoreQueue
from opsdash.operations.resume_processing import ResumeProcessing
from opsdash.operations.sync_tenant_configs import SyncTenantConfigs

__all__ = [
    "ApproveOperation",
    "ClearQueue",
    "ClearTasks",
    "DeleteTrash",
    "PauseProcessing",
    "PruneAuditLog",
    "RestoreQueue",
    "ResumeProcessing",
    "SyncTenantConfigs",
]
