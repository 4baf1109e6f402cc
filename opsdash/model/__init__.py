"""The values opsdash passes around: frozen, comparable, standard library only. Public, for those who read and test.

A test builds a `Snapshot` by hand: ``Snapshot.example(pause=PauseInfo(queue=None, by="maria"))``.
Each is imported when it is first used: a worker, or a process that only sends tasks, needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsdash.model.actor import Actor, Role
    from opsdash.model.audit import DETAILS_WIDTH, Approval, AuditEntry, Status
    from opsdash.model.failure import Failure, FailureGroup, FailureOverview, FailurePage
    from opsdash.model.found_task import FoundTask, LookedAt, TaskPage, TaskPlace
    from opsdash.model.hold import HeldTasks, Hold
    from opsdash.model.key_layout import Disagreement
    from opsdash.model.notification import NotificationFigures
    from opsdash.model.operation import Act, DeclaredOperation, Effect, Progress
    from opsdash.model.pause import PauseInfo
    from opsdash.model.preview import Breakdown, Figure, Line, Part, Preview
    from opsdash.model.queue import QueueStats, TrashEntry
    from opsdash.model.rate_limit import RateLimit
    from opsdash.model.schedule import Schedule, SchedulePause
    from opsdash.model.serialization import to_plain
    from opsdash.model.snapshot import HistoryPoint, Snapshot
    from opsdash.model.tenant import TenantDrift
    from opsdash.model.tenant_tasks import LookedThrough, TenantsRead, TenantTasks
    from opsdash.model.time_in_queue import Objective, ObjectiveStatus, QueuePace, Wait
    from opsdash.model.untrusted import Unread
    from opsdash.model.worker import Build, OtherWorker, RunningTask, UnmanagedLook, WorkerStats, builds
    from opsdash.model.workflow import Workflow, WorkflowTask

_HOMES = {
    "actor": "Actor Role",
    "audit": "DETAILS_WIDTH Approval AuditEntry Status",
    "failure": "Failure FailureGroup FailureOverview FailurePage",
    "found_task": "FoundTask LookedAt TaskPage TaskPlace",
    "hold": "HeldTasks Hold",
    "key_layout": "Disagreement",
    "notification": "NotificationFigures",
    "operation": "Act DeclaredOperation Effect Progress",
    "pause": "PauseInfo",
    "preview": "Breakdown Figure Line Part Preview",
    "queue": "QueueStats TrashEntry",
    "rate_limit": "RateLimit",
    "schedule": "Schedule SchedulePause",
    "serialization": "to_plain",
    "snapshot": "HistoryPoint Snapshot",
    "tenant": "TenantDrift",
    "tenant_tasks": "LookedThrough TenantTasks TenantsRead",
    "time_in_queue": "Objective ObjectiveStatus QueuePace Wait",
    "untrusted": "Unread",
    "worker": "Build OtherWorker RunningTask UnmanagedLook WorkerStats builds",
    "workflow": "Workflow WorkflowTask",
}
_HOME_OF = {name: f"opsdash.model.{home}" for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "DETAILS_WIDTH",
    "Act",
    "Actor",
    "Approval",
    "AuditEntry",
    "Breakdown",
    "Build",
    "DeclaredOperation",
    "Disagreement",
    "Effect",
    "Failure",
    "FailureGroup",
    "FailureOverview",
    "FailurePage",
    "Figure",
    "FoundTask",
    "HeldTasks",
    "HistoryPoint",
    "Hold",
    "Line",
    "LookedAt",
    "LookedThrough",
    "NotificationFigures",
    "Objective",
    "ObjectiveStatus",
    "OtherWorker",
    "Part",
    "PauseInfo",
    "Preview",
    "Progress",
    "QueuePace",
    "QueueStats",
    "RateLimit",
    "Role",
    "RunningTask",
    "Schedule",
    "SchedulePause",
    "Snapshot",
    "Status",
    "TaskPage",
    "TaskPlace",
    "TenantDrift",
    "TenantTasks",
    "TenantsRead",
    "TrashEntry",
    "UnmanagedLook",
    "Unread",
    "Wait",
    "WorkerStats",
    "Workflow",
    "WorkflowTask",
    "builds",
    "to_plain",
]


def __getattr__(name: str) -> Any:
    """Imports a public name from its home on first use (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'opsdash.model' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    """Public names, for completion."""
    return __all__
