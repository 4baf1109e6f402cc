"""Where operations are found on the page: most where their target is shown, all others on one card."""

from __future__ import annotations

from opsdash.model import Role
from opsdash.operation import registry

PLACED = frozenset(
    [
        "approve",
        "autoscale",
        "cancel_workflow",
        "clear_held",
        "clear_queue",
        "clear_tasks",
        "clear_tenant",
        "delete_trash",
        "dismiss_worker",
        "hold_tasks",
        "hold_tenant",
        "limit_concurrency",
        "pause_processing",
        "pause_schedule",
        "prune_audit_log",
        "quiet_worker",
        "release_tasks",
        "release_tenant",
        "remove_concurrency_limit",
        "remove_rate_limit",
        "remove_task",
        "resize_pool",
        "restart_pool",
        "restore_queue",
        "resume_processing",
        "resume_schedule",
        "revoke_task",
        "set_rate_limit",
        "set_time_limit",
        "shutdown_worker",
        "run_schedule_now",
        "sync_tenant_configs",
        "wake_worker",
    ]
)
"""Names of those that a card, or the rows of one, offers by a button."""


def others(role: Role) -> list[list[str]]:
    """Operations without a place, such as those of other packages, that this role may run: name, title and help."""
    return [
        [name, kind.title, kind.help]
        for name, kind in sorted(registry().items(), key=lambda known: known[1].title)
        if name not in PLACED and role >= kind.minimum_role
    ]
