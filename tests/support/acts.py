"""One of every operation: what holds for all of them is tried with these."""

from __future__ import annotations

import opsdash
from opsdash.operations import QuietWorker, RevokeTask, WakeWorker

EVERY_OPERATION = (
    opsdash.PauseProcessing(),
    opsdash.ResumeProcessing(),
    opsdash.ClearQueue(queue="emails"),
    opsdash.ClearTasks(queue="emails", task="shop.*"),
    opsdash.ClearTenant(tenant="acme"),
    opsdash.HoldTasks(task="shop.charge"),
    opsdash.ReleaseTasks(task="shop.charge"),
    opsdash.HoldTenant(tenant="acme"),
    opsdash.ReleaseTenant(tenant="acme"),
    opsdash.ClearHeld(task="shop.charge"),
    opsdash.RestoreQueue(trash_id="0123"),
    opsdash.DeleteTrash(trash_id="0123"),
    opsdash.DismissWorker(hostname="gone@a"),
    opsdash.AddNote(text="payments fail since 14:02"),
    opsdash.SyncTenantConfigs(),
    opsdash.PruneAuditLog(),
    opsdash.ApproveOperation(approval_id="0123"),
    QuietWorker(hostname="celery@a"),
    WakeWorker(hostname="celery@a"),
    RevokeTask(task_id="0123"),
    opsdash.RemoveTask(task_id="0123"),
    opsdash.CancelWorkflow(root="0123"),
    opsdash.RetryFailed(ids="0123"),
    opsdash.DiscardFailed(ids="0123"),
    opsdash.EditFailed(failure_id="0123", args="[]"),
    opsdash.ResizePool(hostname="celery@a", size=8),
    opsdash.Autoscale(hostname="celery@a", most=8, least=2),
    opsdash.RestartPool(hostname="celery@a"),
    opsdash.ShutdownWorker(hostname="celery@a"),
    opsdash.LimitConcurrency(task="shop.order", most=3),
    opsdash.RemoveConcurrencyLimit(task="shop.order"),
    opsdash.SetRateLimit(task="shop.order", rate="10/s"),
    opsdash.RemoveRateLimit(task="shop.order"),
    opsdash.SetTimeLimit(task="shop.order", hard_s=60),
    opsdash.PauseSchedule(schedule="nightly"),
    opsdash.ResumeSchedule(schedule="nightly"),
    opsdash.RunScheduleNow(schedule="nightly"),
    opsdash.DrainBuild(build="1.41"),
    opsdash.WakeBuild(build="1.41"),
)
