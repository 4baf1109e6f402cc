"""Tasks that take their process with them each time, and those that only run long: the first are set aside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest
from support.deployment import Deployment
from support.failures import groups, wait_for
from support.workers import eventually, worker

AFTER = {"OPSDASH_POISON_AFTER": "2"}


def timed_out(deployment: Deployment) -> None:
    """What kombu does with what a worker holds when the visibility timeout has ended."""
    for field in reversed(deployment.redis.zrange("unacked_index", 0, -1)):
        message, _, _ = json.loads(deployment.redis.hget("unacked", field))
        message["headers"]["redelivered"] = message["properties"]["delivery_info"]["redelivered"] = True
        deployment.redis.rpush("celery", json.dumps(message))
        deployment.redis.hdel("unacked", field)
        deployment.redis.zrem("unacked_index", field)


@pytest.mark.long
def test_a_task_that_takes_its_child_with_it_each_time_is_set_aside(deployment: Deployment) -> None:
    with worker(env={**deployment.env, **AFTER}) as running:
        (task_id,) = deployment.send(1, "sample.kills")
        (failure,) = wait_for(deployment, 1, kind="poison", timeout_s=40)
        # The first time it had not been delivered before; then twice.
        assert len(deployment.records) == 3
        assert deployment.waiting() == deployment.unacked() == 0
        running.wait_for_log(f"sample.kills[{task_id}] is set aside: Set aside instead of run")
        deployment.send(1)
        deployment.records.wait_for(4)
    assert (failure.id, failure.task, failure.sendable, failure.redelivered) == (task_id, "sample.kills", True, True)
    assert f"took its process with it 2 times. {running.hostname} (pid" in failure.message_text
    assert list(deployment.redis.scan_iter("opsdash:redelivered:*")) == [], "sent again it begins anew"


@pytest.mark.parametrize("pool", ["solo", pytest.param("threads", marks=pytest.mark.slow)])
def test_a_task_that_takes_its_worker_with_it_each_time_is_set_aside(deployment: Deployment, pool: str) -> None:
    deployment.celery.send_task("sample.kills", kwargs={"how": "worker"})
    for start in range(1, 4):
        with worker(pool=pool, env={**deployment.env, **AFTER}, wait=False) as running:
            eventually(lambda running=running: not running.running, timeout_s=30, what="it takes the worker with it")
        assert len(deployment.records) == start
        timed_out(deployment)
    with worker(pool=pool, env={**deployment.env, **AFTER}) as running:
        wait_for(deployment, 1, kind="poison")
        assert len(deployment.records) == 3
        assert deployment.waiting() == deployment.unacked() == 0
        assert running.running


@pytest.mark.long
def test_a_long_healthy_task_that_the_visibility_timeout_redelivers_is_no_poison(deployment: Deployment) -> None:
    options = {"visibility_timeout": 3, "priority_steps": [0, 3, 6, 9], "queue_order_strategy": "priority"}
    env = {**deployment.env, "OPSDASH_POISON_AFTER": "1", "SAMPLE_OPTIONS": json.dumps(options)}
    deployment.celery.send_task("sample.late", kwargs={"seconds": 20})
    with contextlib.ExitStack() as stack:
        for start in range(1, 4):
            # kombu looks for what is to be delivered again when a worker starts, and then seldom.
            stack.enter_context(worker(pool="threads", concurrency=4, env=env))
            deployment.records.wait_for(start)
            time.sleep(4)  # longer than the visibility timeout
        eventually(lambda: deployment.unacked() == 0, timeout_s=60, what="all have ended")
    assert groups(deployment, "poison") == ()


def test_what_only_waited_in_a_worker_that_was_killed_is_no_poison(deployment: Deployment) -> None:
    env = {**deployment.env, "OPSDASH_POISON_AFTER": "1"}
    sent = [deployment.celery.send_task("sample.late", [name], kwargs={"seconds": 60}).id for name in ("runs", "waits")]
    for start in range(1, 3):
        with worker(pool="threads", concurrency=1, env=env) as running:
            deployment.records.wait_for(start)
            eventually(lambda: deployment.unacked() == 2, what="it holds both")
            running.kill()
        timed_out(deployment)
    with worker(pool="threads", concurrency=2, env=env):
        (failure,) = wait_for(deployment, 1, kind="poison")
        assert failure.id == sent[0], "it was running when its worker went"
        deployment.records.wait_for(3)
    assert [start.argument for start in deployment.records.starts()] == ["runs", "runs", "waits"]


@pytest.mark.long
def test_a_redelivered_task_whose_worker_was_stopped_on_purpose_is_no_poison(deployment: Deployment) -> None:
    env = {**deployment.env, "OPSDASH_POISON_AFTER": "1"}
    deployment.celery.send_task("sample.late", kwargs={"seconds": 60})
    for start in range(1, 4):
        with worker(pool="prefork", env=env) as running:
            deployment.records.wait_for(start)
            os.kill(running.pid, signal.SIGQUIT)  # a cold shutdown
            eventually(lambda running=running: not running.running, timeout_s=30, what="it has ended")
        timed_out(deployment)
        assert groups(deployment, "poison") == ()
        if not deployment.waiting():
            break  # before Celery 5.5 a cold shutdown acknowledges what it ends


@pytest.mark.long
def test_unless_it_is_asked_for_nothing_is_noted_of_redelivered_tasks(deployment: Deployment) -> None:
    with worker(env=deployment.env):
        deployment.send(1, "sample.survives")
        deployment.records.wait_for(2)
        eventually(lambda: deployment.unacked() == 0, what="it has ended")
    assert list(deployment.redis.scan_iter("opsdash:redelivered:*")) == []
