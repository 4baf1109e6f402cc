"""A restore that was killed half-way: what is left of it is what everybody is told, and no clear goes past it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opsdash.cli import summary
from opsdash.errors import Refused
from opsdash.operation import Operation
from opsdash.operations import ClearQueue, ClearTasks, RestoreQueue
from opsdash.services.console import Console
from opsdash.services.queues import lock

QUEUE = "celery"


@pytest.fixture
def ops(console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(lock, "FIRST_STEP", 1)
    monkeypatch.setattr(lock, "LARGEST_STEP", 1)
    return console_for(queues=(QUEUE,))


def send(ops: Console, name: str, number: int, step: int = 0) -> None:
    ops.broker.client.lpush(ops.broker.lists(QUEUE)[step], *(f"{name} {step} {i}" for i in range(number)))


def waiting(ops: Console, step: int = 0) -> list[str]:
    return ops.broker.client.lrange(ops.broker.lists(QUEUE)[step], 0, -1)[::-1]


def kill_restore(ops: Console, monkeypatch: pytest.MonkeyPatch, trash_id: str, steps: int) -> None:
    """It dies after so many steps under the lock."""
    run, done = lock.QueueLock.run, 0

    def dies(held: lock.QueueLock, *args: Any) -> Any:
        nonlocal done
        done += 1
        if done > steps:
            raise KeyboardInterrupt
        return run(held, *args)

    with monkeypatch.context() as patch:
        patch.setattr(lock.QueueLock, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            ops.run(RestoreQueue(trash_id=trash_id), actor="maria", confirm="YES")


@pytest.fixture
def trash_id(ops: Console, monkeypatch: pytest.MonkeyPatch) -> str:
    """Priority 9 is back; of priority 0, 5 tasks are left, and 2 of 6 newer ones are set aside."""
    send(ops, "old", 5)
    send(ops, "old", 3, step=9)
    cleared = ops.run(ClearQueue(queue=QUEUE), actor="maria", confirm="YES")
    found: str = cleared.details["trash_id"]
    send(ops, "new", 6)
    kill_restore(ops, monkeypatch, found, steps=4)
    assert (len(waiting(ops)), len(waiting(ops, 9))) == (4, 3)
    return found


@pytest.mark.parametrize("clear", [ClearQueue(queue=QUEUE), ClearTasks(queue=QUEUE, task="*")])
def test_a_clear_is_refused_until_the_unfinished_restore_of_its_queue_is_finished(
    ops: Console, trash_id: str, clear: Operation
) -> None:
    for act in (ops.preview, lambda one: ops.run(one, actor="maria", confirm="YES")):
        with pytest.raises(Refused, match=rf"not finished.*Nothing was changed.*opsdash restore-queue {trash_id}"):
            act(clear)
    assert len(waiting(ops)) == 4
    ops.run(RestoreQueue(trash_id=trash_id), actor="maria", confirm="YES")
    assert ops.preview(ClearQueue(queue=QUEUE)).figure("waiting").value == 14


def test_what_is_left_of_an_interrupted_restore_is_what_is_told_and_then_restored(ops: Console, trash_id: str) -> None:
    preview = ops.preview(RestoreQueue(trash_id=trash_id))
    assert (preview.figure("count").value, preview.figure("set_aside").value) == (5, 2)
    assert [(part.name, part.value) for part in preview.breakdowns[0].parts] == [("0", 5)]
    text = "\n".join(line.text for line in preview.lines)
    assert "5 tasks left of queue celery will be restored" in text
    assert "2 newer tasks are set aside until it is finished." in text
    (entry,) = ops.trash.list()
    assert (entry.count, entry.set_aside, entry.state) == (5, 2, "restoring")
    told = "\n".join(summary._waiting_for_somebody(ops.snapshot()))
    assert f"5 tasks left, 2 newer set aside: opsdash restore-queue {trash_id}" in told
    effect = ops.run(RestoreQueue(trash_id=trash_id), actor="maria", confirm="YES")
    assert effect.affected == 5
    assert effect.message.startswith("Restored 5 tasks to celery. This finished a restore that was interrupted.")
    assert waiting(ops) == [*(f"old 0 {i}" for i in range(5)), *(f"new 0 {i}" for i in range(6))]


def test_a_restore_that_was_killed_when_all_was_back_moves_nothing_more(
    ops: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(ops, "old", 3)
    cleared = ops.run(ClearQueue(queue=QUEUE), actor="maria", confirm="YES")
    kill_restore(ops, monkeypatch, cleared.details["trash_id"], steps=2)
    assert len(waiting(ops)) == 3
    effect = ops.run(RestoreQueue(trash_id=cleared.details["trash_id"]), actor="maria", confirm="YES")
    assert (effect.affected, effect.message[:40]) == (0, "Restored 0 tasks to celery. This finishe")
