"""Gevent and eventlet: one thread, and a loop that sleeps up to two seconds unless the plug-in wakes it."""

from __future__ import annotations

import os
import random
import time

import pytest
from support.deployment import Deployment, each_exactly_once
from support.workers import GREEN, Worker, eventually, worker

AT_ONCE_S = 0.5
"""Far below the two seconds the loop sleeps by itself, far above what a loaded machine needs."""
POOLS = [*GREEN[:1], *(pytest.param(pool, marks=pytest.mark.slow) for pool in GREEN[1:])]
ALL_LATER = [pytest.param(pool, marks=pytest.mark.slow) for pool in GREEN]


def cpu_s(running: Worker) -> float:
    """Processor time the worker's process has used."""
    with open(f"/proc/{running.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pause_and_resume(deployment: Deployment, running: Worker, rounds: int) -> list[str]:
    """Pauses and resumes an idle worker; both must reach it at once. Returns the ids of what ran."""
    before = len(deployment.records)
    ids: list[str] = []
    for _ in range(rounds):
        paused_at = deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        assert time.time() - paused_at < AT_ONCE_S, "the pause"
        ids += deployment.send(2)
        time.sleep(random.uniform(1.2, 2.2))  # beyond the end of the last fetch, anywhere in the loop's sleep
        assert len(deployment.records) == before + len(ids) - 2
        resumed_at = time.time()
        deployment.resume()
        deployment.records.wait_for(before + len(ids))
        first = min(start.at for start in deployment.records.starts() if start.at > resumed_at)
        assert first - resumed_at < AT_ONCE_S, "the resume"
    return ids


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_pause_and_a_resume_wake_a_green_worker(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        ids = pause_and_resume(deployment, running, 2)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.parametrize("pool", ALL_LATER)
def test_a_green_worker_is_woken_over_its_new_connections_too(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        ids = deployment.send(1)  # now there is a connection that waits for more, and its loss is noticed
        deployment.records.wait_for(1)
        for number in (1, 2):
            eventually(lambda: deployment.unacked() == 0, what="all acknowledged")  # up to 2 s later before Celery 5.7
            deployment.cut_connections()
            eventually(lambda n=number: running.log.count("Connection to broker lost") == n, what="it noticed")
            ids += deployment.send(2)  # they run as soon as it is connected again
            deployment.records.wait_for(len(ids))
            ids += pause_and_resume(deployment, running, 2)
        assert "Pending callback raised" not in running.log
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.parametrize("pool", ALL_LATER)
def test_a_green_worker_that_waits_uses_next_to_no_processor_time(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        pause_and_resume(deployment, running, 1)
        before = cpu_s(running)
        time.sleep(3.0)
        running_s = cpu_s(running) - before
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        before = cpu_s(running)
        time.sleep(3.0)
        paused_s = cpu_s(running) - before
    assert (running_s < 0.3, paused_s < 0.3) == (True, True), f"{running_s} s running, {paused_s} s paused, of 3 s each"


@pytest.mark.parametrize("pool", ALL_LATER)
def test_a_green_worker_whose_slots_are_all_taken_confirms_a_pause_and_starts_nothing_more(
    deployment: Deployment, pool: str
) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        ids = deployment.send(6, kwargs={"seconds": 2.0})
        deployment.records.wait_for(2)
        time.sleep(0.2)  # its loop has fetched the third, and stands until there is room
        paused_at = deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        assert time.time() - paused_at < AT_ONCE_S
        assert (deployment.waiting(), deployment.unacked()) == (4, 0), "not even the one its loop stands with is held"
        assert deployment.health(running.hostname)["active"] == "2"
        eventually(lambda: deployment.health(running.hostname)["active"] == "0", what="both have ended")
        assert deployment.records.stay(0.5) == 0
        deployment.resume()
        deployment.records.wait_for(6)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.slow
def test_a_kombu_without_the_name_that_wakes_green_workers_leaves_them_pausing_within_two_seconds(
    deployment: Deployment,
) -> None:
    with worker(pool="gevent", env={**deployment.env, "SAMPLE_BREAK": "bell"}) as running:
        running.wait_for_log("this kombu has no transport.cycle.moved_on")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ids = deployment.send(2)
        assert deployment.records.stay(1.2) == 0
        assert deployment.health(running.hostname)["pausing"] == "ready"
        deployment.resume()
        deployment.records.wait_for(2, timeout_s=4)
    assert deployment.records.times_run() == each_exactly_once(ids)
