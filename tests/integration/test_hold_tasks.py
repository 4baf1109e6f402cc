"""Tasks of one name are held while all others run: real workers, and a real console."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from support.deployment import Deployment, each_exactly_once
from support.holds import applied, began, held, hold
from support.workers import eventually, worker

import opsdash
from opsdash.model.hold import EXPIRY
from opsdash.services.console import Console

POOLS = [
    "prefork",
    "threads",
    pytest.param("solo", marks=pytest.mark.slow),
    pytest.param("gevent", marks=pytest.mark.slow),
    pytest.param("eventlet", marks=pytest.mark.slow),
]


@pytest.fixture
def ops(console_for: Callable[..., Console], deployment: Deployment, sqlite_url: str) -> Console:
    return console_for(redis_url=deployment.server.url, database_url=sqlite_url, queues=("celery", "emails"))


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_of_one_name_are_held_in_order_while_others_run_and_run_next_when_released(
    deployment: Deployment, ops: Console, pool: str
) -> None:
    with worker(pool=pool, concurrency=1, env=deployment.env, queues=["celery", "emails"]) as running:
        hold(ops, deployment, running)
        late, short = [], []
        for _ in range(5):
            late += deployment.send(4, "sample.late")
            short += deployment.send(4, "sample.short")
        deployment.records.wait_for(20)
        eventually(lambda: held(ops) == 20, what="the others are held")
        assert set(began(deployment, "sample.short")) == {0, 1, 2, 3}
        assert began(deployment, "sample.late") == []
        eventually(lambda: deployment.unacked() == 0, what="nothing of it is left in the worker")
        done = ops.run(opsdash.ReleaseTasks(task="sample.late"), actor="maria", confirm="YES")
        assert (done.affected, done.details["ended"]) == (20, True)
        deployment.records.wait_for(40)
        assert deployment.records.times_run() == each_exactly_once(late + short)
        assert began(deployment, "sample.late") == [0, 1, 2, 3] * 5
        assert ops.holds.look().holds == ()
        assert not list(deployment.redis.scan_iter("opsdash:held*")) + list(deployment.redis.scan_iter("opsdash:hold*"))


def test_what_a_worker_has_prefetched_and_what_is_in_a_childs_pipe_is_held_in_its_place(
    deployment: Deployment, ops: Console
) -> None:
    with worker(concurrency=2, env=deployment.env, queues=["celery"]) as running:
        children = deployment.children(running.hostname)
        with deployment.stopped(children):
            ids = deployment.send(30, "sample.late")
            eventually(lambda: deployment.unacked() >= 8, what="the worker has fetched")
            time.sleep(0.1)  # and has had the time to write to its children
            hold(ops, deployment, running)
        eventually(lambda: held(ops) == 30, what="all are held")
        assert len(deployment.records) == 0
        (key,) = deployment.redis.scan_iter("opsdash:held:celery:*:0")
        order = [json.loads(text)["headers"]["id"] for text in reversed(deployment.redis.lrange(key, 0, -1))]
        assert order == ids
        ops.run(opsdash.ReleaseTasks(task="sample.late"), actor="maria", confirm="YES")
        deployment.records.wait_for(30)
        assert deployment.records.times_run() == each_exactly_once(ids)


def test_a_pause_comes_first_and_the_hold_applies_after_the_resume(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env, queues=["celery"]) as running:
        hold(ops, deployment, running)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        deployment.send(6, "sample.late")
        assert deployment.records.stay(0.3) == 0
        assert (deployment.waiting(), held(ops)) == (6, 0)
        deployment.resume()
        eventually(lambda: held(ops) == 6, what="they are held now")
        assert deployment.waiting() == 0


@pytest.mark.long
@pytest.mark.parametrize("by", ["a console", "a worker"])
def test_a_hold_that_ends_by_itself_releases_its_tasks_and_is_told_once(
    deployment: Deployment, ops: Console, by: str
) -> None:
    with worker(env=deployment.env, queues=["celery"]) as running:
        hold(ops, deployment, running, duration_s=2, reason="one customer")
        ids = deployment.send(5, "sample.late")
        eventually(lambda: held(ops) == 5, what="held")
        if by == "a console":
            eventually(lambda: ops.snapshot().holds == (), what="the console has released them")
        deployment.records.wait_for(5)
        eventually(lambda: ops.holds.read().holds == (), what="it is over")
        assert deployment.records.times_run() == each_exactly_once(ids)
        eventually(lambda: ops.snapshot().operations[0].user == EXPIRY, what="it is written down")
        ops.snapshot()
        told = [entry for entry in ops.get_recent_operations() if entry.operation == "release_tasks"]
        assert [entry.details["reason"] for entry in told] == ["one customer"]
        assert "expired" in told[0].details["message"]


@pytest.mark.long
def test_what_is_held_outlives_a_worker_that_is_killed(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env, queues=["celery"]) as first:
        hold(ops, deployment, first)
        ids = deployment.send(50, "sample.late")
        eventually(lambda: held(ops) == 50, what="all are held")
        first.kill()
    with worker(env=deployment.env, queues=["celery"]):
        ids += deployment.send(5, "sample.late")
        eventually(lambda: held(ops) == 55, what="one that starts later holds them too")
        assert len(deployment.records) == 0
        ops.run(opsdash.ReleaseTasks(task="sample.late"), actor="maria", confirm="YES")
        deployment.records.wait_for(55)
        assert deployment.records.times_run() == each_exactly_once(ids)


def test_held_tasks_are_cleared_to_the_trash_and_restored(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env, queues=["celery"]) as running:
        hold(ops, deployment, running, task="sample.l*")
        ids = deployment.send(5, "sample.late")
        eventually(lambda: held(ops) == 5, what="held")
        done = ops.run(opsdash.ClearHeld(task="sample.l*"), actor="maria", confirm="YES")
        assert (done.affected, held(ops)) == (5, 0)
        ops.run(opsdash.ReleaseTasks(task="sample.l*"), actor="maria", confirm="YES")
        assert deployment.records.stay(0.2) == 0
        ops.run(done.undo, actor="maria", confirm="YES")
        deployment.records.wait_for(5)
        assert deployment.records.times_run() == each_exactly_once(ids)


def test_priorities_come_back_as_they_were(deployment: Deployment, ops: Console) -> None:
    with worker(pool="solo", env=deployment.env, queues=["celery"]) as running:
        hold(ops, deployment, running)
        deployment.send(3, "sample.late", priority=9)
        deployment.send(3, "sample.late", priority=0)
        eventually(lambda: held(ops) == 6, what="held")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ops.run(opsdash.ReleaseTasks(task="sample.late"), actor="maria", confirm="YES")

        def priorities() -> list[int]:
            return [message["properties"]["priority"] for message in deployment.messages()]

        # A fetch that was under way when the pause came gets one of them, and puts it back.
        eventually(lambda: priorities() == [0, 0, 0, 9, 9, 9], what="they are back as they were")
        deployment.resume()
        deployment.records.wait_for(6)


def test_one_tenants_tasks_are_held_while_others_run(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env, queues=["celery"]) as running:
        ops.run(opsdash.HoldTenant(tenant="acme"), actor="maria", confirm="YES")
        applied(ops, deployment, running)
        ids = deployment.send(3, headers={"tenant_id": "acme"})
        ids += deployment.send(3, headers={"tenant_id": "other"})
        ids += deployment.send(3)
        deployment.records.wait_for(6)
        eventually(lambda: held(ops) == 3, what="those of acme are held")
        done = ops.run(opsdash.ReleaseTenant(tenant="acme"), actor="maria", confirm="YES")
        assert done.affected == 3
        deployment.records.wait_for(9)
        assert deployment.records.times_run() == each_exactly_once(ids)
