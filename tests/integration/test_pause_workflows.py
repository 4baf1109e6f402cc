"""What hangs together across tasks, under a pause: chains, groups, chords, retries, time limits; and kill -9."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping

import pytest
from support import programs
from support.deployment import SOON_S, Deployment, each_exactly_once
from support.workers import GREEN, PATH, PYTHON, eventually, worker

POOLS = ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo", *GREEN))]

SEND_WORKFLOWS = """
from celery import chain, chord, group
from support.sample_app import app
step = app.signature
sent = [chain(*(step("sample.step", (n, i), immutable=True) for i in range(4)))() for n in range(10)]
for n in range(5):
    sent += group(step("sample.step", (n, "g")) for n in range(4))().results
sent += [chord([step("sample.step", (n, "c")) for n in range(4)])(step("sample.gather")) for _ in range(5)]
print(*(result.id for result in sent))
"""


def in_a_process_of_its_own(script: str, env: Mapping[str, str]) -> list[str]:
    """Runs Python code; returns the words it prints. Results hold connections that only their process's end closes."""
    path = os.pathsep.join(PATH)
    done = programs.run(
        [PYTHON, "-c", script], env={**os.environ, "PYTHONPATH": path, **env}, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.decode().split()


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_chains_groups_and_chords_go_on_where_a_pause_stopped_them(deployment: Deployment, pool: str) -> None:
    env = {**deployment.env, "SAMPLE_RESULTS": "yes"}
    with worker(pool=pool, env=env) as running:
        ids = in_a_process_of_its_own(SEND_WORKFLOWS, env)
        deployment.records.wait_for(5)
        paused_at = deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        assert deployment.records.stay(1.5) <= 4
        assert deployment.started_after(paused_at + SOON_S) == 0
        began = len(deployment.records)
        assert began < 85
        deployment.resume()
        deployment.records.wait_for(85)

        def succeeded(task_id: str) -> bool:
            return '"SUCCESS"' in (deployment.redis.get(f"celery-task-meta-{task_id}") or "")

        eventually(lambda: all(map(succeeded, ids)), what="every result is there")
    assert set(deployment.records.times_run().values()) == {1}
    assert len(deployment.records) == 85


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_retries_during_a_pause_waits_with_the_others(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        ids = deployment.send(2, "sample.flaky", kwargs={"failures": 2, "countdown": 0.2, "seconds": 0.5})
        deployment.records.wait_for(1)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        eventually(lambda: deployment.health(running.hostname)["active"] == "0", what="what ran has ended")
        began = len(deployment.records)
        assert began <= 2
        assert deployment.records.stay(1.0) == 0, "not a retry"
        eventually(lambda: deployment.waiting() == 2, what="the retries are in the list")
        deployment.resume()
        deployment.records.wait_for(6)
        assert deployment.records.stay(0.5) == 0
    assert deployment.records.times_run() == dict.fromkeys(ids, 3)


@pytest.mark.slow
def test_time_limits_hold_during_a_pause_and_count_from_the_start_only(deployment: Deployment) -> None:
    with worker(env=deployment.env) as running:
        soft = deployment.send(1, "sample.bounded", kwargs={"seconds": 30}, soft_time_limit=1.5)
        hard = deployment.send(1, "sample.bounded", kwargs={"seconds": 30}, time_limit=2)
        deployment.records.wait_for(2)
        waiting = deployment.send(4, "sample.bounded", kwargs={"seconds": 0.1}, soft_time_limit=1, time_limit=2)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        running.wait_for_log(f"Soft time limit (1.5s) exceeded for sample.bounded[{soft[0]}]")
        running.wait_for_log(f"Hard time limit (2s) exceeded for sample.bounded[{hard[0]}]")
        eventually(lambda: deployment.health(running.hostname)["active"] == "0", what="both were ended")
        assert deployment.records.stay(2.5) == 0, "longer than the limits of those that wait"
        deployment.resume()
        deployment.records.wait_for(6)
        eventually(lambda: running.log.count("succeeded in") == 4, what="those that waited end well")
        assert deployment.records.times_run() == each_exactly_once(soft + hard + waiting)


@pytest.mark.slow
def test_a_queues_pause_leaves_workers_of_other_queues_alone(deployment: Deployment) -> None:
    with (
        worker(env=deployment.env, queues=["emails"]) as mails,
        worker(env=deployment.env, queues=["celery", "reports"]) as others,
    ):
        deployment.pause("emails")
        for one in (mails, others):
            deployment.wait_until_confirmed(one.hostname)
        assert deployment.health(mails.hostname)["paused_queues"] == '["emails"]'
        assert deployment.health(others.hostname)["paused_queues"] == "[]"
        waiting = deployment.send(5, queue="emails")
        ids = deployment.send(5) + deployment.send(5, queue="reports")
        deployment.records.wait_for(10)
        assert deployment.records.stay(0.5) == 0
        assert deployment.records.times_run() == each_exactly_once(ids)
        deployment.pause()
        deployment.resume("emails")
        for one in (mails, others):
            deployment.wait_until_confirmed(one.hostname)
        assert deployment.records.stay(0.5) == 0, "the pause of everything stands"
        deployment.resume()
        deployment.records.wait_for(15)
    assert deployment.records.times_run() == each_exactly_once(ids + waiting)


@pytest.mark.parametrize("late", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["early", "late"])
@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_busy_worker_killed_a_moment_after_a_pause_loses_and_repeats_nothing(
    deployment: Deployment, kills: int, late: bool
) -> None:
    ids: list[str] = []
    for _ in range(kills):
        with worker(env=deployment.env, concurrency=4) as busy:
            ids += deployment.send(150, "sample.late" if late else "sample.short")
            deployment.records.wait_for(len(ids) - 110)
            deployment.pause()
            time.sleep(0.3)
            busy.kill()
        assert deployment.unacked() == 0, "nothing was held by the killed worker"
        deployment.resume()
        with worker(env=deployment.env, concurrency=4) as successor:
            deployment.records.wait_for(len(ids))
            successor.stop()  # a kill would lose the late acknowledgements of the last ones
    assert deployment.records.times_run() == each_exactly_once(ids)
