"""Jobs that are beyond recall when a pause comes: in a child's pipe, or between a thread's first look and its task."""

from __future__ import annotations

import os
import signal
import time

import pytest
from kombu import Exchange
from support.deployment import Deployment, as_sent, each_exactly_once
from support.sample_app import ACCEPTING
from support.workers import GREEN, Worker, eventually, worker

TASKS = 120


def stop_pause_continue(deployment: Deployment, running: Worker, paused: str | None) -> int:
    """Children stand still with jobs in their pipes; a pause comes; they go on. Returns how many tasks they began."""
    queue = paused or "celery"
    expected = len(deployment.records) + TASKS
    children = deployment.children(running.hostname)
    with deployment.stopped(children):
        deployment.send(TASKS, queue=queue)
        eventually(lambda: deployment.written_to(children) == len(children), what="each has a job in its pipe")
        deployment.pause(paused)
        deployment.wait_until_confirmed(running.hostname)
        before = len(deployment.records)
    eventually(
        lambda: deployment.waiting(queue) + len(deployment.records) == expected,
        what="all that was in the pipes is in the list again",
    )
    began = deployment.records.stay(0.3) + len(deployment.records) - before
    eventually(lambda: deployment.health(running.hostname)["reserved"] == "0", what="the worker holds nothing")
    deployment.resume(paused)
    deployment.records.wait_for(expected)
    return began


POOLS = ["threads", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("solo", *GREEN))]


@pytest.mark.long
@pytest.mark.parametrize("cycles", [3, pytest.param(12, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
@pytest.mark.parametrize("queue", [pytest.param(None, marks=pytest.mark.slow), "emails"])
def test_children_that_hold_a_job_when_a_pause_comes_give_it_back_unstarted(
    deployment: Deployment, queue: str | None, cycles: int
) -> None:
    with worker(concurrency=4, env=deployment.env, queues=["celery", "emails"]) as running:
        assert [stop_pause_continue(deployment, running, queue) for _ in range(cycles)] == [0] * cycles
        assert set(deployment.records.times_run().values()) == {1}
        assert len(deployment.records.times_run()) == cycles * TASKS
        # Every slot is free again: as many tasks as it has children run at a time.
        deployment.send(4, kwargs={"seconds": 3.0})
        eventually(lambda: deployment.health(running.hostname)["active"] == "4", what="four at a time")


def test_a_queues_own_pause_lets_the_other_queues_jobs_in_the_pipes_start(deployment: Deployment) -> None:
    with worker(env=deployment.env, queues=["celery", "emails"]) as running:
        children = deployment.children(running.hostname)
        with deployment.stopped(children):
            ids = deployment.send(2)
            eventually(lambda: deployment.written_to(children) > 0, what="a job is in the pipe of one of them")
            deployment.pause("emails")
            deployment.wait_until_confirmed(running.hostname)
        deployment.records.wait_for(2)
        assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.slow
@pytest.mark.parametrize("grows", ["by itself", "when told"])
def test_children_made_later_look_too_and_neither_child_limits_nor_time_limits_lose_count(
    deployment: Deployment, grows: str
) -> None:
    limits = ["--max-tasks-per-child", "7", "--time-limit", "20", "--soft-time-limit", "10"]
    if grows == "by itself":
        limits += ["--autoscale", "5,2"]
    with worker(env=deployment.env, arguments=limits) as running:
        if grows == "when told":
            deployment.celery.control.pool_grow(3, destination=[running.hostname], reply=True, timeout=5)
            eventually(lambda: len(deployment.children(running.hostname)) == 5, what="it has grown")
        assert [stop_pause_continue(deployment, running, None) for _ in range(3)] == [0, 0, 0]
        assert len(deployment.children(running.hostname)) == 5
        assert set(deployment.records.times_run().values()) == {1}


def test_a_broadcast_in_a_childs_pipe_runs_although_everything_is_paused(deployment: Deployment) -> None:
    with worker(env=deployment.env) as running:
        with deployment.stopped(deployment.children(running.hostname)):
            ids = deployment.send(
                2, "sample.broadcast", routing_key="celery", declare=[Exchange("news", type="fanout")]
            )
            time.sleep(0.3)
            deployment.pause()
            deployment.wait_until_confirmed(running.hostname)
        deployment.records.wait_for(2)
    assert deployment.records.times_run() == each_exactly_once(ids)


def test_a_job_that_redis_will_not_take_back_runs_once_rather_than_for_ever_to_and_fro(
    deployment: Deployment,
) -> None:
    with worker(env=deployment.env) as running:
        children = deployment.children(running.hostname)
        with deployment.stopped(children):
            ids = deployment.send(2)
            eventually(lambda: deployment.written_to(children) > 0, what="a job is in the pipe of one of them")
            deployment.pause()
            deployment.wait_until_confirmed(running.hostname)
            # The way back is a script, and nothing else the tasks do needs one.
            deployment.redis.execute_command("ACL", "SETUSER", "default", "-eval")
        try:
            deployment.records.wait_for(1)
            running.wait_for_log("could not put")
        finally:
            deployment.redis.execute_command("ACL", "SETUSER", "default", "+eval")
        deployment.resume()  # on a busy machine one of them had not reached its child, and went back
        deployment.records.wait_for(2)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sample.short", pytest.param("sample.late", marks=pytest.mark.slow)])
def test_a_worker_that_ends_warmly_with_jobs_in_its_childrens_pipes_starts_none(
    deployment: Deployment, name: str
) -> None:
    with worker(env=deployment.env) as running:
        children = deployment.children(running.hostname)
        with deployment.stopped(children):
            ids = deployment.send(20, name)
            eventually(lambda: deployment.written_to(children) > 0, what="a job is in the pipe of one of them")
            deployment.pause()
            deployment.wait_until_confirmed(running.hostname)
            os.kill(running.pid, signal.SIGTERM)
            running.wait_for_log("Warm shutdown")
            time.sleep(0.5)
        eventually(lambda: not running.running, what="it has ended")
        assert len(deployment.records) == 0
        assert (deployment.waiting(), deployment.unacked()) == (20, 0)
    deployment.resume()
    with worker(env=deployment.env):
        deployment.records.wait_for(20)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sample.short", pytest.param("sample.late", marks=pytest.mark.slow)])
@pytest.mark.parametrize("pool", POOLS)
def test_a_pause_that_comes_while_a_task_is_being_accepted_still_holds_it(
    deployment: Deployment, pool: str, name: str
) -> None:
    with worker(pool=pool, env={**deployment.env, "SAMPLE_BREAK": "slow-accept"}) as running:
        ids = deployment.send(6, name)
        eventually(lambda: deployment.redis.llen(ACCEPTING), what="accepting")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        deployment.records.stay(2.0)
        assert len(deployment.records) == 0
        eventually(lambda: deployment.waiting() == 6 and deployment.unacked() == 0, what="all are back")
        assert deployment.health(running.hostname)["active"] == "0"
        returned = as_sent(deployment.messages())
        assert len({frozenset(message["headers"]) for message in returned}) == 1, "all as they were sent"
        deployment.resume()
        deployment.records.wait_for(6)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.parametrize("pool", POOLS)
def test_an_acknowledged_task_that_redis_will_not_take_back_runs_rather_than_gets_lost(
    deployment: Deployment, pool: str
) -> None:
    with worker(pool=pool, env={**deployment.env, "SAMPLE_BREAK": "slow-accept,no-way-back"}) as running:
        ids = deployment.send(1)
        eventually(lambda: deployment.redis.llen(ACCEPTING), what="accepting")
        deployment.pause()
        deployment.records.wait_for(1)
        running.wait_for_log("so it runs although paused")
    assert deployment.records.times_run() == each_exactly_once(ids)
