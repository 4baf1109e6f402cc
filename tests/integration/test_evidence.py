"""What each operation has left behind, for an entry whose process died: told before the act and after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support.acts import EVERY_OPERATION
from support.failed_tasks import failed, keep

import opsdash
from opsdash.errors import NeedsApproval
from opsdash.model import Actor, AuditEntry, Role
from opsdash.operation import Act, Operation
from opsdash.operations import QuietWorker, RevokeTask, WakeWorker
from opsdash.services.audit.chain import BEFORE
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_log

MARIA = Actor(name="maria", role=Role.ADMIN)


@pytest.fixture
def ops(console_for: Callable[..., Console]) -> Console:
    console = console_for(queues=("celery", "emails"))
    console.broker.client.rpush("emails", "a", "b", "c")
    return console


def trash_of(ops: Console) -> str:
    ops.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    return ops.trash.list()[0].id


def begun(ops: Console, operation: Operation) -> AuditEntry:
    return ops.audit.begin(operation, MARIA)


def told(ops: Console, entry: AuditEntry) -> str:
    (entry,) = [one for one in ops.get_recent_operations(50) if one.id == entry.id]
    return str(ops._evidence(entry)["message"])


def do(ops: Console, operation: Operation, entry: AuditEntry) -> None:
    operation.execute(ops.services, Act(actor=MARIA, audit_id=entry.id))


TASK = json.dumps({"headers": {"task": "shop.order", "id": "1"}})
BEFORE_AND_AFTER: dict[str, tuple[str, str]] = {
    "pause_processing": ("There is no such pause now.", "Its pause is in force."),
    "resume_processing": ("There is a pause now.", "There is no such pause now."),
    "clear_queue": ("It has no trash: it removed nothing", "It moved 3 tasks to the trash."),
    "clear_tasks": ("It has no trash: it removed nothing", "It moved 1 task to the trash."),
    "restore_queue": ("Nothing was restored. The trash has 3 tasks.", "went back to emails at "),
    "dismiss_worker": ("gone@a is on the list of workers.", "gone@a is off the list of workers."),
    "retry_failed": ("It sent no task: all are still kept as failed.", "It sent 1 failed task, each once"),
    "discard_failed": ("It has no trash: it discarded nothing", "It moved 1 failed task to the trash."),
    "edit_failed": ("It sent no task: all are still kept as failed.", "It sent 1 failed task, each once"),
    "delete_trash": ("It was not deleted: 3 tasks are in the trash.", "There is no such trash: "),
}


@pytest.mark.parametrize("name", BEFORE_AND_AFTER)
def test_what_an_act_has_left_behind_says_whether_it_was_done(ops: Console, name: str) -> None:
    if name == "resume_processing":
        ops.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    if name == "dismiss_worker":
        ops.broker.client.zadd(ops.broker.keys.workers, {"gone@a": 1.0})
    if name.endswith("_failed"):
        keep(ops.broker, [failed("0123")])
    if name == "clear_tasks":
        ops.broker.client.rpush("emails", TASK)
    made: dict[str, Callable[[], Operation]] = {
        "restore_queue": lambda: opsdash.RestoreQueue(trash_id=trash_of(ops)),
        "delete_trash": lambda: opsdash.DeleteTrash(trash_id=trash_of(ops)),
    }
    operation = made[name]() if name in made else next(one for one in EVERY_OPERATION if one.name == name)
    before, after = BEFORE_AND_AFTER[name]
    entry = begun(ops, operation)
    assert before in told(ops, entry)
    do(ops, operation, entry)
    assert after in told(ops, entry)
    assert "Nothing was changed" not in told(ops, entry)


def test_a_restore_that_was_begun_says_to_run_it_again(ops: Console) -> None:
    trash_id = trash_of(ops)
    entry = begun(ops, opsdash.RestoreQueue(trash_id=trash_id))
    ops.broker.client.hset(ops.broker.keys.trash(trash_id, "info"), "state", "restoring")
    told_now = told(ops, entry)
    assert told_now.startswith("It was interrupted,")
    assert told_now.endswith(" left to restore. Run it again.")


def test_a_prune_says_up_to_which_entry_it_has_deleted(ops: Console) -> None:
    row = {"request_id": uuid4(), "timestamp": datetime(2020, 1, 1, tzinfo=UTC), "user": "maria", "key_id": BEFORE}
    row |= {"id": uuid4(), "operation": "clear_queue", "status": "success", "details": {}}
    with ops.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), row)
    operation = opsdash.PruneAuditLog()
    entry = begun(ops, operation)
    assert told(ops, entry) == "It deleted nothing."
    do(ops, operation, entry)
    assert told(ops, entry) == "It deleted entries that were not in the hash chain."


def test_an_approval_says_whether_it_still_waits(console_for: Callable[..., Console]) -> None:
    ops = console_for(queues=("celery", "emails"), approval=("clear_queue",))
    ops.broker.client.rpush("emails", "a")
    with pytest.raises(NeedsApproval) as asked:
        ops.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    operation = opsdash.ApproveOperation(approval_id=asked.value.approval_id)
    bob = Actor(name="bob", role=Role.ADMIN)
    entry = ops.audit.begin(operation, bob)
    assert told(ops, entry) == "Clear Queue (queue: emails) still waits for approval: it was not done."
    operation.execute(ops.services, Act(actor=bob, audit_id=entry.id))
    assert told(ops, entry) == "It is no longer pending: the requester's entry has the result."


def test_what_workers_were_told_is_known_as_far_as_it_was_written_down(ops: Console) -> None:
    quiet, wake = (begun(ops, kind(hostname="w1@a")) for kind in (QuietWorker, WakeWorker))
    assert told(ops, quiet) == "w1@a did not get the command."
    assert told(ops, wake) == "w1@a has confirmed that it takes tasks again."
    ops.broker.client.hset(ops.broker.keys.quiet, "w1@a", '["emails"]')
    assert told(ops, quiet) == "w1@a may take no more from emails; to undo it: opsdash wake-worker w1@a"
    assert told(ops, wake) == "w1@a has not confirmed emails. Run it again."
    revoke = begun(ops, RevokeTask(task_id="0123"))
    assert told(ops, revoke) == "Workers may have received it or not. You can revoke the task again."


@pytest.mark.parametrize("operation", EVERY_OPERATION, ids=lambda operation: operation.name)
def test_every_operation_knows_something_about_an_act_that_broke_off(ops: Console, operation: Operation) -> None:
    assert told(ops, begun(ops, operation)).endswith((".", "w1@a"))
