"""Whoever loses the queue lock is told whether anything was moved: by status, exit code and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opsdash.errors import OpsdashError, Refused, Uncertain
from opsdash.model import Status
from opsdash.operations import ClearQueue, RestoreQueue
from opsdash.services.broker import writes
from opsdash.services.console import Console
from opsdash.services.queues import lock

QUEUE = "celery"


@pytest.fixture
def ops(console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(lock, "FIRST_STEP", 1)
    monkeypatch.setattr(lock, "LARGEST_STEP", 1)
    return console_for(queues=(QUEUE,))


def lose_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Another mover has the lock from this step on, counted from 1."""
    run, steps = lock.QueueLock.run, 0

    def loses(held: lock.QueueLock, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == step:
            with writes.aside():
                held.broker.client.set(held.key, "somebody else", ex=10)
        return run(held, *args)

    monkeypatch.setattr(lock.QueueLock, "run", loses)


@pytest.mark.parametrize(
    ("step", "kind", "status", "code"),
    [(1, Refused, Status.REFUSED, 3), (4, Uncertain, Status.UNKNOWN, 5)],
    ids=["before anything was moved", "half-way"],
)
def test_a_lost_lock_is_a_refusal_only_where_nothing_was_moved(
    ops: Console, monkeypatch: pytest.MonkeyPatch, step: int, kind: type[OpsdashError], status: Status, code: int
) -> None:
    key, client = ops.broker.lists(QUEUE)[0], ops.broker.client
    client.lpush(key, *(f"old {i}" for i in range(9)))
    cleared = ops.run(ClearQueue(queue=QUEUE), actor="maria", confirm="YES")
    client.lpush(key, *(f"new {i}" for i in range(9)))
    with monkeypatch.context() as patch:
        lose_at(patch, step)
        with pytest.raises(OpsdashError, match="Lost the queue lock") as error:
            ops.run(RestoreQueue(trash_id=cleared.details["trash_id"]), actor="maria", confirm="YES")
    assert (type(error.value), error.value.exit_code, error.value.retry) == (kind, code, True)
    assert ("Nothing was changed" in str(error.value)) == (client.llen(key) == 9)
    assert ops.get_recent_operations(1)[0].status is status
