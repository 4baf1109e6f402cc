"""The operations, one file each. Importing this package registers them all."""

from opsdash.operations.clear_queue import ClearQueue
from opsdash.operations.pause_processing import PauseProcessing
from opsdash.operations.prune_audit_log import PruneAuditLog
from opsdash.operations.resume_processing import ResumeProcessing
from opsdash.operations.sync_tenant_configs import SyncTenantConfigs

__all__ = ["ClearQueue", "PauseProcessing", "PruneAuditLog", "ResumeProcessing", "SyncTenantConfigs"]
