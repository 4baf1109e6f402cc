"""Celery's remote control during a pause, and the command opsdash adds to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.deployment import Deployment, each_exactly_once
from support.workers import GREEN, Worker, eventually, worker


def recall(deployment: Deployment, running: Worker) -> Any:
    """Sends the command to one worker; returns its answer."""
    replies = deployment.celery.control.broadcast(
        "opsdash_recall_eta", destination=[running.hostname], reply=True, timeout=10, limit=1
    )
    (answer,) = replies
    return answer[running.hostname]


POOLS = ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo", *GREEN))]


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_scheduled_tasks_go_back_in_order_when_told_and_keep_their_time(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env, queues=["celery", "emails"]) as running:
        due = datetime.now(UTC) + timedelta(seconds=6)
        ids = deployment.send(12, eta=due) + deployment.send(2, "sample.limited", eta=due)
        others = deployment.send(3, eta=due, queue="emails")
        eventually(lambda: deployment.unacked() == 17, what="the worker holds them")
        assert recall(deployment, running) == {"error": "nothing is paused"}
        deployment.pause("celery")
        deployment.wait_until_confirmed(running.hostname)
        assert recall(deployment, running) == {"recalling": 14, "unstarted": {}}
        eventually(lambda: deployment.task_ids() == ids, timeout_s=3, what="all are in the list, in order")
        assert deployment.unacked() == 3, "the other queue's stay"
        eventually(lambda: deployment.health(running.hostname)["scheduled"] == "3", what="health says so")
        assert datetime.now(UTC) < due, "the test was in time"
        deployment.resume("celery")
        deployment.records.wait_for(17)
        assert min(start.at for start in deployment.records.starts()) > due.timestamp() - 0.1, "not before their time"
    assert deployment.records.times_run() == each_exactly_once(ids + others)


@pytest.mark.slow
def test_recalled_tasks_outlive_a_killed_worker(deployment: Deployment) -> None:
    with worker(env=deployment.env) as running:
        ids = deployment.send(10, countdown=4)
        eventually(lambda: deployment.unacked() == 10, what="the worker holds them")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        assert recall(deployment, running) == {"recalling": 10, "unstarted": {}}
        eventually(lambda: deployment.task_ids() == ids, timeout_s=3, what="all are in the list, in order")
        running.kill()
    deployment.resume()
    with worker(env=deployment.env):
        deployment.records.wait_for(10)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_inspect_revoke_and_rate_limit_answer_during_a_pause(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        one = [running.hostname]
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ids = deployment.send(10)
        control = deployment.celery.control
        inspect = control.inspect(one, timeout=5, limit=1)
        assert inspect.ping() == {running.hostname: {"ok": "pong"}}
        assert inspect.active() == {running.hostname: []}
        assert inspect.reserved() == {running.hostname: []}
        assert inspect.stats()[running.hostname]["opsdash"]["paused"] is True
        assert control.revoke(ids[0], destination=one, reply=True, timeout=5, limit=1)
        (answer,) = control.rate_limit("sample.limited", "100/s", destination=one, reply=True, timeout=5, limit=1)
        assert "ok" in answer[running.hostname]
        limited = deployment.send(6, "sample.limited")
        assert len(deployment.records) == 0
        deployment.resume()
        deployment.records.wait_for(15, timeout_s=5)  # at the declared 2/s the six took longer still
        assert deployment.records.stay(0.5) == 0
    assert deployment.records.times_run() == each_exactly_once(ids[1:] + limited), "all but the revoked one"


@pytest.mark.slow
def test_a_consumer_cancelled_and_added_during_a_pause_stays_paused(deployment: Deployment) -> None:
    with worker(env=deployment.env, queues=["celery", "emails"]) as running:
        one = [running.hostname]
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ids = deployment.send(5) + deployment.send(5, queue="emails")
        deployment.celery.control.cancel_consumer("emails", destination=one, reply=True, timeout=5, limit=1)
        deployment.celery.control.add_consumer("emails", destination=one, reply=True, timeout=5, limit=1)
        assert deployment.records.stay(1.5) == 0
        deployment.resume()
        deployment.records.wait_for(10)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.slow
def test_a_pool_that_shrinks_and_grows_during_a_pause_works_with_its_new_size(deployment: Deployment) -> None:
    with worker(concurrency=3, env=deployment.env) as running:
        one = [running.hostname]
        deployment.send(30, kwargs={"seconds": 0.05})
        deployment.records.wait_for(3)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        eventually(lambda: deployment.health(running.hostname)["active"] == "0", what="drained")
        before = len(deployment.records)
        deployment.celery.control.pool_shrink(2, destination=one, reply=True, timeout=5, limit=1)
        deployment.celery.control.pool_grow(3, destination=one, reply=True, timeout=5, limit=1)
        eventually(lambda: len(deployment.children(running.hostname)) == 4, what="four children")
        assert len(deployment.records) == before
        deployment.resume()
        deployment.records.wait_for(30)
        deployment.send(4, kwargs={"seconds": 3})
        eventually(lambda: deployment.health(running.hostname)["active"] == "4", what="four at a time")
    assert set(deployment.records.times_run().values()) == {1}
