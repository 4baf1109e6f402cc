"""What is offered as an undo takes back what was done, and is offered as long as it can."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from support.deployment import Deployment
from support.workers import eventually, worker

from opsdash.errors import Invalid
from opsdash.operations import ClearQueue, PauseProcessing, RestoreQueue, ResumeProcessing
from opsdash.services.console import Console


@pytest.fixture
def ops(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery",))


def test_the_undo_of_a_pause_that_replaced_another_is_the_earlier_one(ops: Console) -> None:
    first = ops.run(PauseProcessing(duration_s=3_600, reason="deploy"), actor="maria", confirm="YES")
    assert isinstance(first.undo, ResumeProcessing)
    second = ops.run(PauseProcessing(duration_s=60), actor="maria", confirm="YES")
    assert isinstance(second.undo, PauseProcessing)
    assert (second.undo.queue, second.undo.reason) == (None, "deploy")
    assert 3_500 < (second.undo.duration_s or 0) <= 3_600


@pytest.mark.parametrize("queue", [None, "celery"])
def test_a_replaced_pause_without_an_end_comes_back_without_an_end(ops: Console, queue: str | None) -> None:
    flag = ops.broker.keys.pause(queue)
    ops.broker.client.set(flag, "true")  # by another program
    effect = ops.run(PauseProcessing(queue=queue, duration_s=60), actor="maria", confirm="YES")
    assert isinstance(effect.undo, PauseProcessing)
    assert "It has no end" in str(ops.preview(effect.undo))
    back = ops.run(effect.undo, actor="maria", confirm="YES")
    assert "without an end" in back.message
    assert ops.broker.client.ttl(flag) == -1
    assert ops.pause.read(["celery"])[queue].expires_at is None
    resumed = ops.run(ResumeProcessing(queue=queue), actor="maria", confirm="YES")
    ops.run(resumed.undo, actor="maria", confirm="YES")
    assert ops.broker.client.ttl(flag) == -1


def test_a_pause_has_an_end_or_none_and_not_both(ops: Console) -> None:
    with pytest.raises(Invalid, match="without_end"):
        ops.run(PauseProcessing(without_end=True, duration_s=60), actor="maria", confirm="YES")
    assert not ops.is_processing_paused()


def test_the_undo_of_a_resume_stops_unmanaged_workers_again(deployment: Deployment, ops: Console) -> None:
    with worker(pool="threads", env={**deployment.env, "SAMPLE_PLUGIN": "no"}) as free:
        eventually(lambda: [w.hostname for w in ops.unmanaged.look() or ()] == [free.hostname], what="it answers")
        ops.run(PauseProcessing(cancel_consumer=True), actor="maria", confirm="YES")
        effect = ops.run(ResumeProcessing(), actor="maria", confirm="YES")
        assert isinstance(effect.undo, PauseProcessing)
        assert effect.undo.cancel_consumer


def test_a_request_sent_again_offers_no_undo_that_was_done_already(ops: Console) -> None:
    ops.broker.client.lpush("celery", "a", "b")
    once = uuid4()

    def clear():
        return ops.run(ClearQueue(queue="celery"), actor="maria", confirm="YES", request_id=once)

    undo = clear().undo
    assert isinstance(undo, RestoreQueue)
    assert clear().undo == undo
    ops.run(undo, actor="maria", confirm="YES")
    again = clear()
    assert (again.undo, again.undo_s) == (None, None)
