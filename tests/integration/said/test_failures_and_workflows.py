"""Failed tasks and workflows: what an operator reads before and after each act on them, word for word."""

from __future__ import annotations

from collections.abc import Callable

from support.desk import Desk
from support.failed_tasks import CHARGE, SEND, failed, keep
from support.failed_tasks import message as sent
from support.messages import fetched, message

from opsdash.operations import (
    CancelWorkflow,
    DeleteTrash,
    DiscardFailed,
    EditFailed,
    RestoreQueue,
    RetryFailed,
)
from opsdash.services.workers.task_holders import HeldTask
from opsdash.worker.failures.batch import Group


def fill(desk: Desk) -> None:
    """Five failed tasks of two kinds."""
    keep(
        desk.broker,
        [
            failed("f-1", ago_s=30.5, message=sent("f-1", args=[7], kwargs={"currency": "EUR"})),
            failed("f-2", ago_s=20.5, retries="3", message=sent("f-2", retries=3, eta="2026-01-01T00:00:00+00:00")),
            failed("f-3", SEND, ago_s=10.5, queue="emails"),
            failed("f-4", CHARGE, ago_s=7_200.5, chord="1", message=sent("f-4", chord={"task": "shop.sum"})),
            failed("f-5", CHARGE, ago_s=5.5, message=b""),
        ],
    )


def test_failed_tasks_are_retried(desk: Desk) -> None:
    fill(desk)
    desk.worker("a@h")
    for wrong in (
        RetryFailed(),
        RetryFailed(ids="nobody"),
        RetryFailed(task="none.*"),
        RetryFailed(ids="f-1", per_s=0.0),
        RetryFailed(task="shop.*", per_s=0.00001),
    ):
        desk.preview(wrong)
    desk.preview(RetryFailed(task="shop.*"))
    desk.preview(RetryFailed(task="shop.*", keep_retries=True, keep_times=True, new_id=True, include_chords=True))
    desk.preview(RetryFailed(queue="emails", per_s=2.0))
    desk.client.lpush("celery", message("f-1"))
    desk.preview(RetryFailed(ids="f-1 f-2"))
    desk.client.delete("celery")
    desk.services.pause.pause("celery", by="otto", reason="", ttl_s=600)
    (group, *_) = {one.fingerprint for one in desk.services.failed.store.every() if one.id == "f-1"}
    desk.preview(RetryFailed(group=group))
    desk.preview(RetryFailed(error="Timeout*", since_s=60))
    desk.both(RetryFailed(ids="f-1,f-2"))
    desk.evidence(RetryFailed(ids="f-1,f-2"))
    desk.both(RetryFailed(ids="f-3"), after=0)
    desk.waits()
    desk.both(RetryFailed(ids="f-1"))
    desk.evidence(RetryFailed(ids="f-1"))


def test_failed_tasks_are_discarded(desk: Desk) -> None:
    fill(desk)
    for wrong in (DiscardFailed(), DiscardFailed(ids="nobody")):
        desk.preview(wrong)
    keep(desk.broker, [failed("odd", Group("unreadable", "", "", ""), message=b"{")])
    desk.preview(DiscardFailed(ids="odd"))
    desk.act(DiscardFailed(ids="odd"))
    desk.preview(DiscardFailed(ids="f-1 nobody neither f-2 f-9 f-8"))
    (group, *_) = {one.fingerprint for one in desk.services.failed.store.every() if one.id == "f-3"}
    desk.preview(DiscardFailed(group=group))
    desk.evidence(DiscardFailed(task="shop.*"))
    desk.act(DiscardFailed(task="shop.*"), after=0)
    desk.both(DiscardFailed(task="shop.charge"))
    desk.evidence(DiscardFailed(task="shop.charge"))
    (entry, _) = sorted(desk.services.trash.list(), key=lambda one: -one.count)
    desk.preview(DeleteTrash(trash_id=entry.id))
    keep(desk.broker, [failed("f-1")])
    desk.both(RestoreQueue(trash_id=entry.id))
    desk.evidence(RestoreQueue(trash_id=entry.id))
    desk.act(DiscardFailed(ids="f-3"))
    (entry, *_) = sorted(desk.services.trash.list(), key=lambda one: one.id, reverse=True)
    desk.act(DeleteTrash(trash_id=entry.id))


def test_without_an_undo_window_discarded_tasks_are_gone(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(undo_window_s=0)
    fill(desk)
    desk.both(DiscardFailed(ids="f-1"))
    desk.client.lpush("celery", message("a-1", root_id="root-1", parent_id="root-1"))
    desk.both(CancelWorkflow(root="root-1"))


def test_a_failed_task_is_edited(desk: Desk) -> None:
    fill(desk)
    desk.worker("a@h")
    desk.suggest(EditFailed(failure_id="f-1"))
    desk.suggest(EditFailed(failure_id="nobody"))
    secret, odd = sent("f-6", args=[{"password": "hunter2-planted"}]), b'{"headers": {"id": "f-7"}, "body": 7}'
    keep(desk.broker, [failed("f-6", message=secret), failed("f-7", message=odd)])
    keep(desk.broker, [failed("f-8", message=sent("f-8", args=["x" * 8_000]))])
    for failure_id in ("f-6", "f-8"):
        desk.suggest(EditFailed(failure_id=failure_id))
    desk.preview(EditFailed(failure_id="f-7", args="[]"))
    for wrong in (
        EditFailed(failure_id="f-1"),
        EditFailed(failure_id="f-1", args="{}"),
        EditFailed(failure_id="f-1", args="[NaN]"),
        EditFailed(failure_id="f-1", kwargs="[]"),
        EditFailed(failure_id="f-1", kwargs='{"a": '),
        EditFailed(failure_id="f-1", args='["(hidden)"]'),
        EditFailed(failure_id="nobody", args="[]"),
        EditFailed(failure_id="f-5", args="[]"),
    ):
        desk.preview(wrong)
    desk.preview(EditFailed(failure_id="f-2", kwargs='{"password": "hunter2-planted", "amount": 5}'))
    desk.preview(EditFailed(failure_id="f-4", args="[]", new_id=True))
    reviewed = desk.preview(EditFailed(failure_id="f-3", args='["new"]'))
    keep(desk.broker, [failed("f-3", SEND, queue="emails")])
    desk.act(EditFailed(failure_id="f-3", args='["new"]'), reviewed)
    desk.both(EditFailed(failure_id="f-1", args="[8]", kwargs='{"currency": "USD"}'))
    desk.evidence(EditFailed(failure_id="f-1", args="[8]"))
    desk.act(EditFailed(failure_id="f-1", args="[8]"))
    desk.both(EditFailed(failure_id="f-2", args="[1]", new_id=True))
    desk.said.append(f"  logged: {EditFailed(failure_id='f-1', args='[8]').logged_params()}")


def child(task_id: str, parent: str = "root-1", **more: object) -> str:
    return message(task_id, "shop.step", root_id="root-1", parent_id=parent, **more)


def test_what_is_left_of_a_workflow_is_cancelled(desk: Desk) -> None:
    desk.worker("a@h")
    signature = {"task": "shop.last", "options": {"task_id": "last-1"}, "kwargs": {}, "args": [], "subtask_type": None}
    desk.client.lpush("celery", child("a-1", embed={"chain": [signature]}), child("b-1"), message("other"))
    desk.client.lpush(desk.broker.lists("emails")[3], child("c-1"))
    desk.client.hset(desk.broker.unacked, "tag", fetched(child("d-1"), "emails"))
    desk.has_task(
        HeldTask(id="e-1", worker="a@h", state="active", name="shop.step", root="root-1", parent="root-1", linked=True)
    )
    keep(desk.broker, [failed("f-1", message=sent("f-1", root_id="root-1", parent_id="root-1"), root_id="root-1")])
    for root in ("", "nobody", "a-1"):
        desk.preview(CancelWorkflow(root=root))
    desk.preview(CancelWorkflow(root="root-1"))
    desk.preview(CancelWorkflow(root="root-1", terminate=True, discard_failed=True))
    desk.fleet.answers["revoke"] = {"a@h": {"ok": "terminate: e-1"}}
    desk.act(CancelWorkflow(root="root-1"), after=0)
    desk.act(CancelWorkflow(root="root-1", terminate=True, discard_failed=True))
    desk.evidence(CancelWorkflow(root="root-1"))
    desk.waits()
    for entry in sorted(desk.services.trash.list(), key=lambda one: one.id):
        desk.preview(DeleteTrash(trash_id=entry.id))
        desk.both(RestoreQueue(trash_id=entry.id))
    desk.waits()
    desk.said += desk.fleet.sent


def test_workers_that_do_not_confirm_a_cancel_are_named(desk: Desk) -> None:
    desk.worker("a@h")
    desk.worker("mute@h")
    desk.client.hset(desk.broker.unacked, "tag", fetched(child("d-1")))
    desk.fleet.answers["revoke"] = {"a@h": {"error": "no rights"}}
    desk.both(CancelWorkflow(root="root-1"))
    desk.fleet.answers["revoke"] = {}
    desk.both(CancelWorkflow(root="root-1"))
    desk.client.hdel(desk.broker.unacked, "tag")
    desk.client.lpush("celery", child("a-1"))
    desk.act(CancelWorkflow(root="root-1"))
    (entry,) = desk.services.trash.list()
    desk.act(DeleteTrash(trash_id=entry.id))
