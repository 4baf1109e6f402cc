"""Clearing and restoring: what an operator reads before and after each, word for word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.desk import Desk
from support.messages import message

from opsdash.model import Snapshot, TaskPlace, TrashEntry
from opsdash.operation import command_line
from opsdash.operations import (
    ClearQueue,
    ClearTasks,
    ClearTenant,
    DeleteTrash,
    RemoveTask,
    RestoreQueue,
    restore_queue,
)
from opsdash.operations.remove_task import act_on
from opsdash.services.queues import reclaim, sampling
from opsdash.services.queues.lock import locked
from opsdash.services.workers.task_holders import HeldTask


def last_trash(desk: Desk) -> str:
    (newest, *_) = sorted(desk.services.trash.list(), key=lambda one: one.id, reverse=True)
    return newest.id


def test_a_clear_of_a_queue_and_its_undo(desk: Desk) -> None:
    desk.wait(2, sent_at=int(time.time()) - 5_430.5)
    desk.wait(1, step=9, task="shop.send")
    desk.wait(2, queue="emails")
    desk.worker("a@h", reserved=2, active=1)
    desk.unmanaged("free@h")
    before = desk.preview(ClearQueue(queue="celery"))
    desk.wait(1)
    desk.act(ClearQueue(queue="celery"), before)
    desk.evidence(ClearQueue(queue="celery"))
    desk.waits()
    trash_id = last_trash(desk)
    desk.preview(DeleteTrash(trash_id=trash_id))
    desk.evidence(DeleteTrash(trash_id=trash_id))
    desk.evidence(RestoreQueue(trash_id=trash_id))
    desk.both(RestoreQueue(trash_id=trash_id))
    desk.waits()
    desk.both(RestoreQueue(trash_id=trash_id))
    desk.evidence(RestoreQueue(trash_id=trash_id))
    desk.note("nothing in it, none of it, and its trash deleted")
    before = desk.preview(ClearQueue(queue="emails"))
    desk.wait(2, queue="emails")
    desk.act(ClearQueue(queue="emails"), before)
    desk.both(ClearQueue(queue="emails"))
    desk.both(ClearQueue(queue="emails"))
    desk.evidence(ClearQueue(queue="emails"))
    desk.preview(ClearQueue(queue="nowhere"))
    desk.client.hset(desk.broker.keys.trash(last_trash(desk), "info"), "by", "")
    desk.preview(RestoreQueue(trash_id=last_trash(desk)))
    desk.both(DeleteTrash(trash_id=last_trash(desk)))
    desk.evidence(DeleteTrash(trash_id=trash_id))
    desk.preview(DeleteTrash(trash_id="0123"))


def test_a_clear_of_everything_takes_what_workers_hold(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.wait(2)
    desk.worker("a@h", reserved=1, scheduled=1)
    desk.unmanaged("free@h")
    desk.preview(ClearQueue(queue="celery", everything=True))
    desk.services.pause.pause(None, by="otto", reason="", ttl_s=600)
    desk.preview(ClearQueue(queue="celery", everything=True))
    desk.services.pause.pause("celery", by="maria", reason=reclaim.REASON, ttl_s=600)
    desk.preview(ClearQueue(queue="celery", everything=True))
    desk.evidence(ClearQueue(queue="celery", everything=True))
    desk.services.pause.resume(None)
    desk.services.pause.resume("celery")
    reviewed = desk.preview(ClearQueue(queue="celery"))
    desk.act(ClearQueue(queue="celery", everything=True), reviewed)
    desk.note("nothing is held")
    desk.client.delete(desk.broker.keys.workers)
    desk.unmanaged()
    desk.both(ClearQueue(queue="celery", everything=True))
    desk.note("somebody has stopped it, and what a worker has does not come back")
    monkeypatch.setattr(reclaim, "WAIT_S", 0.0)
    desk.worker("a@h", reserved=1)
    desk.act(ClearQueue(queue="celery", everything=True), after=0)
    desk.act(ClearQueue(queue="celery", everything=True))


def test_the_queues_name_is_asked_for_where_a_clear_is_risky(desk_for: Callable[..., Desk]) -> None:
    for settings in ({"environment": "Production"}, {"name_queue_above": 2}, {"name_queue_above": 3}, {}):
        desk = desk_for(**settings)
        desk.client.flushdb()
        desk.wait(3)
        for operation in (ClearQueue(queue="celery"), ClearTasks(queue="celery", task="*"), ClearTenant(tenant="acme")):
            desk.said.append(f"{settings} {operation.name}: {operation.phrase(desk.services)}")
        one = ClearTenant(tenant="acme", queue="emails")
        desk.said.append(f"{settings} {one.queue}: {one.phrase(desk.services)}")


def test_a_clear_without_an_undo_window_keeps_nothing(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(undo_window_s=0)
    desk.wait(2)
    desk.both(ClearQueue(queue="celery"))
    desk.wait(2, customer="acme")
    desk.both(ClearTasks(queue="celery", task="shop.charge"))
    desk.wait(1)
    desk.both(ClearTenant(tenant="acme"))
    desk.both(RemoveTask(task_id="celery-0-1"))


def test_a_selective_clear_takes_what_matches(desk: Desk) -> None:
    now = int(time.time()) - 0.5
    desk.wait(2, sent_at=now - 5_430, args=[{"order": "A-7"}])
    desk.wait(1, task="shop.send", sent_at=now - 90)
    desk.wait(3, sent_at=now - 90)
    desk.suggest(ClearTasks(queue="celery"))
    for operation in (
        ClearTasks(queue="celery"),
        ClearTasks(queue="celery", older_than_s=-1),
        ClearTasks(queue="celery", task="shop.*", containing="A-7", older_than_s=3_600),
        ClearTasks(queue="celery", older_than_s=0),
        ClearTasks(queue="nowhere", task="shop.*"),
    ):
        desk.preview(operation)
    reviewed = desk.preview(ClearTasks(queue="celery", task="shop.charge"))
    desk.wait(1)
    desk.act(ClearTasks(queue="celery", task="shop.charge"), reviewed)
    desk.evidence(ClearTasks(queue="celery", task="shop.charge"))
    desk.waits()
    desk.act(ClearTasks(queue="celery", task="nobody.*"))
    desk.act(ClearTasks(queue="celery", task="nobody.*"), after=0)


def test_of_many_tasks_a_preview_says_that_it_estimates(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "LOOK_S", 60.0)
    text = message("same", "shop.charge")
    with desk.client.pipeline(transaction=False) as pipe:
        for _ in range(12):
            pipe.lpush("celery", *[text] * 1_000)
        pipe.execute()
    desk.preview(ClearTasks(queue="celery", task="shop.*"))
    desk.preview(ClearTenant(tenant="acme", queue="celery"))
    desk.preview(ClearQueue(queue="celery"))


def test_a_clear_of_a_tenant_takes_what_waits_and_what_is_held(desk: Desk) -> None:
    desk.wait(2, tenant_id="acme")
    desk.wait(1, tenant_id="other")
    desk.wait(1, queue="emails", tenant_id="acme")
    desk.hold("tenant", "acme", held_tasks=2)
    desk.hold("tenant", "idle")
    for operation in (
        ClearTenant(),
        ClearTenant(tenant=" "),
        ClearTenant(tenant="acme", queue="nowhere"),
        ClearTenant(tenant="acme", queue="emails"),
        ClearTenant(tenant="idle"),
    ):
        desk.preview(operation)
    desk.act(ClearTenant(tenant="acme"), after=0)
    with locked(desk.broker, "celery", by="otto", what="restore"):
        desk.act(ClearTenant(tenant="acme"))
    desk.wait(1, tenant_id="late")
    with locked(desk.broker, "emails", by="otto", what="restore"):
        desk.act(ClearTenant(tenant="late"))
    desk.both(ClearTenant(tenant="acme"))
    desk.evidence(ClearTenant(tenant="acme"))
    desk.both(ClearTenant(tenant="acme"))
    desk.evidence(ClearTenant(tenant="acme"))
    desk.waits()


def test_one_task_is_removed_and_put_back(desk: Desk) -> None:
    desk.wait(3)
    desk.client.lpush("celery", message("in-a-chain", "shop.order", retries=2, group="g-1", args=[7]))
    desk.wait(1, queue="emails", step=3)
    for task_id in ("celery-0-2", "in-a-chain"):
        desk.both(RemoveTask(task_id=task_id))
        desk.evidence(RemoveTask(task_id=task_id))
        trash_id = last_trash(desk)
        desk.both(RestoreQueue(trash_id=trash_id))
    for task_id in ("", "nobody-has-it", "in-a-cha"):
        desk.preview(RemoveTask(task_id=task_id))
    signature = {"task": "shop.last", "options": {"task_id": "last-1"}, "kwargs": {}, "args": [], "subtask_type": None}
    desk.client.lpush("celery", message("chained-1", embed={"chain": [signature]}))
    desk.client.lpush("celery", message("chord-1", embed={"chord": signature}, group="g-1"))
    desk.preview(RemoveTask(task_id="chained-1"))
    desk.both(RemoveTask(task_id="chord-1"))
    desk.preview(RemoveTask(task_id="chord-1"))
    desk.has_task(HeldTask(id="running-1", worker="a@h", state="active", name="shop.charge"))
    desk.preview(RemoveTask(task_id="running-1"))
    desk.hold("task", "shop.held", held_tasks=2)
    desk.both(RemoveTask(task_id="held-1"))
    desk.both(RestoreQueue(trash_id=last_trash(desk)))
    desk.both(RemoveTask(task_id="emails-3-1"))
    desk.client.delete("celery")
    desk.act(RestoreQueue(trash_id=last_trash(desk)))
    desk.preview(RemoveTask(task_id="celery-0-1"))


def test_a_restore_that_was_broken_off_says_what_is_left(desk: Desk) -> None:
    desk.wait(3)
    desk.act(ClearQueue(queue="celery"))
    trash_id = last_trash(desk)
    desk.wait(2)
    desk.client.hset(desk.broker.keys.trash(trash_id, "info"), "state", "restoring")
    desk.preview(RestoreQueue(trash_id=trash_id))
    desk.evidence(RestoreQueue(trash_id=trash_id))
    desk.preview(DeleteTrash(trash_id=trash_id))
    desk.act(DeleteTrash(trash_id=trash_id))
    desk.act(RestoreQueue(trash_id=trash_id))
    desk.waits()


def test_an_undo_is_possible_while_its_trash_is_kept(desk: Desk) -> None:
    kept = TrashEntry(id="0123", queue="emails", count=1)
    undo = RestoreQueue(trash_id="0123")
    for entries in ((kept,), (replace(kept, state="restoring"),), (replace(kept, id="4567"),), ()):
        desk.said.append(
            f"{[f'{one.id} {one.state}' for one in entries]}: {undo.still_possible(Snapshot.example(trash=entries))}"
        )
    for details in (
        {},
        {"queue": "emails"},
        {"queue": 7},
        {"kind": "failed"},
        {"task_id": "t-1", "queue": "emails"},
        {"root": "r-1"},
    ):
        deletes = DeleteTrash(trash_id="0123").recorded_heading(details)
        desk.said.append(f"{json.dumps(details)}: {undo.recorded_heading(details)} / {deletes}")


def test_what_can_be_done_with_a_task_depends_on_where_it_is(desk: Desk) -> None:
    places = (
        TaskPlace(id="t", state="waiting"),
        TaskPlace(id="t", state="held", hold="task shop.charge"),
        TaskPlace(id="t", state="held"),
        TaskPlace(id="t", state="reserved"),
        TaskPlace(id="t", state="scheduled"),
        TaskPlace(id="t", state="active"),
        TaskPlace(id="t", state="cleared", trash_id="0123"),
        TaskPlace(id="t", state="cleared"),
        TaskPlace(id="t", state="failed", sendable=True),
        TaskPlace(id="t", state="failed", trash_id="0123"),
    )
    for place in places:
        found = act_on(place)
        desk.said.append(f"{place.state} {place.hold or place.trash_id}: {command_line(found) if found else 'nothing'}")
    for number in (0, 1, 1_200):
        desk.said.append(
            f"{number}: {restore_queue._aside(TrashEntry(id='0', queue='emails', count=1, set_aside=number))}"
        )
