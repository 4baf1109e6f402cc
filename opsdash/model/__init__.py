"""The values opsdash passes around: frozen, comparable, standard library only. Public, for those who read and test.

A test builds a `Snapshot` by hand: ``Snapshot.example(pause=PauseInfo(queue=None, by="maria"))``.
"""

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
