"""Many failures at once, and a broker that takes none of them: the worker works on, and every failure is counted."""

from __future__ import annotations

import time

import pytest
from support.deployment import Deployment
from support.failures import counted, groups, store_of
from support.workers import Worker, eventually, worker

from opsdash.worker.failures.budget import BURST, NEW_BURST, RATE_PER_S

QUIET = ["-l", "CRITICAL"]
"""Without this the log of the worker is what takes most of the time. It does not tell that it is ready then."""


def all_have_run(deployment: Deployment, timeout_s: float = 90.0) -> None:
    eventually(
        lambda: deployment.waiting() == 0 and deployment.unacked() == 0, timeout_s=timeout_s, what="all have run"
    )


def memory_of_the_store(deployment: Deployment) -> int:
    keys = list(deployment.redis.scan_iter(f"{deployment.keys.failed}*", count=1_000))
    with deployment.redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.memory_usage(key, samples=0)
        return sum(pipe.execute())


@pytest.mark.long
@pytest.mark.parametrize(
    ("pool", "number"),
    [
        ("prefork", 3_000),
        pytest.param("threads", 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
        pytest.param("prefork", 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
    ],
)
def test_of_a_storm_all_are_counted_a_share_is_kept_and_a_second_error_is_seen(
    deployment: Deployment, pool: str, number: int
) -> None:
    deployment.send(number, "sample.fails")
    with worker(pool=pool, env=deployment.env, arguments=QUIET, wait=False) as running:
        began = time.monotonic()
        eventually(lambda: deployment.waiting() < number - BURST, timeout_s=30, what="it is under way")
        deployment.celery.send_task("nobody.registered_this", priority=9)
        all_have_run(deployment, timeout_s=90 if number < 5_000 else 300)
        eventually(lambda: counted(deployment) == number + 1, what="all are counted")
        took_s = time.monotonic() - began
        running.stop()
    storm = next(group for group in groups(deployment) if group.kind == "failed")
    assert storm.kept + storm.not_kept == storm.count == number
    assert BURST <= storm.kept <= BURST + NEW_BURST + RATE_PER_S * (took_s + 2)
    (unregistered,) = groups(deployment, "unregistered")
    assert (unregistered.count, unregistered.kept) == (1, 1)
    assert memory_of_the_store(deployment) < 5_000_000


def hold_up(deployment: Deployment, number: int) -> None:
    """A task that runs two seconds, with so many that fail behind it in the same worker."""
    deployment.celery.send_task("sample.short", kwargs={"seconds": 2})
    deployment.records.wait_for(1)
    deployment.send(number, "sample.fails")
    eventually(lambda: deployment.waiting() == 0, what="the worker holds them all")


@pytest.fixture
def worker_with_much_in_advance(deployment: Deployment) -> Worker:
    with worker(pool="threads", concurrency=1, env=deployment.env, arguments=["--prefetch-multiplier=30"]) as running:
        yield running


@pytest.mark.long
def test_failures_wait_while_redis_is_full_and_are_written_when_it_has_room(
    deployment: Deployment, worker_with_much_in_advance: Worker
) -> None:
    hold_up(deployment, 20)
    deployment.redis.config_set("maxmemory-policy", "noeviction")
    deployment.redis.config_set("maxmemory", 1)
    try:
        worker_with_much_in_advance.wait_for_log("failed tasks can't be written, they wait: OutOfMemoryError")
        eventually(lambda: deployment.unacked() == 0, what="the worker works on")
        assert store_of(deployment).page().total == 0
    finally:
        deployment.redis.config_set("maxmemory", 0)
    eventually(lambda: store_of(deployment).page().total == 20, timeout_s=30, what="they are written")
    assert counted(deployment) == 20
    worker_with_much_in_advance.wait_for_log("failed tasks are written again")


@pytest.mark.long
def test_failures_wait_while_redis_is_away_and_none_is_counted_twice(
    deployment: Deployment, worker_with_much_in_advance: Worker
) -> None:
    hold_up(deployment, 20)
    eventually(lambda: store_of(deployment).page().total > 0, what="they begin to fail")
    deployment.server.freeze()
    time.sleep(3)  # longer than the plug-in waits for an answer: it can't know whether the batch was written
    deployment.server.thaw()
    all_have_run(deployment)
    eventually(lambda: counted(deployment) >= 20, timeout_s=30, what="they are written")
    assert counted(deployment) == 20
    assert {one.times for one in store_of(deployment).every()} == {1}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_broker_that_restarts_and_cuts_connections_in_a_storm_finds_a_worker_that_works_on(
    deployment: Deployment, pool: str
) -> None:
    deployment.redis.config_set("appendonly", "yes")
    deployment.send(5_000, "sample.fails_late")
    with worker(pool=pool, env=deployment.env, arguments=QUIET, wait=False) as running:
        for _ in range(3):
            eventually(lambda: store_of(deployment).page().total > 0, what="failures are kept")
            deployment.cut_connections()
            time.sleep(0.5)  # it reconnects and goes on, until the next cut
        deployment.server.stop()
        time.sleep(1)  # an outage that lasts, so that writes fail and are tried again
        deployment.server.start_with("--appendonly", "yes")
        eventually(lambda: deployment.waiting() == 0, timeout_s=180, what="the worker works on")
        last = deployment.celery.send_task("nobody.registered_this").id
        eventually(lambda: store_of(deployment).some([last]), timeout_s=30, what="it works and keeps failures")
        assert running.running
        # Some were on their way to the worker when a connection was cut: those are lost to Celery as well.
        eventually(lambda: counted(deployment) > 4_900, timeout_s=30, what="those that failed are counted")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_full_store_of_large_failures_stays_within_64_mb(deployment: Deployment) -> None:
    env = {**deployment.env, "SAMPLE_BREAK": "generous-budget"}
    with deployment.celery.connection_for_write() as connection:
        for number in range(2_000):
            deployment.celery.send_task("sample.fails", [f"{number}" + "x" * 40_000], connection=connection)
    with worker(pool="threads", env=env, arguments=QUIET, wait=False) as running:
        all_have_run(deployment)
        eventually(lambda: counted(deployment) == 2_000, timeout_s=60, what="all are counted")
        running.stop()
    (group,) = groups(deployment)
    assert group.kept + group.not_kept == 2_000
    assert 30_000_000 < memory_of_the_store(deployment) < 64_000_000
