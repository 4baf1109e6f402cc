"""What real workers tell of their tasks: how many failed, and which they run."""

from __future__ import annotations

import time

import pytest
from support.deployment import Deployment
from support.workers import GREEN, eventually, worker

from opsdash.services.workers.reports import MOST_RUNNING, Workers

OTHERS = ["threads", "solo", *GREEN]


def ends(deployment: Deployment, how: str, number: int = 1, **options: object) -> None:
    for _ in range(number):
        deployment.celery.send_task("sample.ends", kwargs={"how": how}, **options)


def failed(deployment: Deployment, hostname: str, *, after: int) -> str | None:
    """What the worker reports once it has begun so many tasks, and holds none."""

    def figures() -> list[str | None]:
        report = deployment.health(hostname)
        return [report.get(name) for name in ("processed", "active", "reserved", "scheduled")]

    eventually(lambda: figures() == [str(after), "0", "0", "0"], what=f"{after} tasks have come to their end")
    return deployment.health(hostname).get("failed")


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in OTHERS)])
def test_a_task_that_raises_or_rejects_its_message_failed_and_one_that_is_retried_ignored_or_expired_did_not(
    deployment: Deployment, pool: str
) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        ends(deployment, "error", 3)
        ends(deployment, "well", expires=-1)
        for how in ("retry", "ignore", "reject", "well"):
            ends(deployment, how)
        # Each once, the one that is retried twice, the one that has expired never.
        assert failed(deployment, running.hostname, after=8) == "4"


@pytest.mark.long
def test_a_task_that_nobody_registered_and_a_message_that_can_not_be_read_count_as_failed(
    deployment: Deployment,
) -> None:
    with worker(pool="threads", env=deployment.env) as running:
        deployment.celery.send_task("nobody.registered_this")
        eventually(lambda: deployment.health(running.hostname).get("failed") == "1", what="the unregistered one")
        deployment.celery.send_task("sample.short", serializer="yaml")  # which this worker does not accept
        eventually(lambda: deployment.health(running.hostname).get("failed") == "2", what="the unreadable one")
        deployment.celery.send_task("sample.short")
        assert failed(deployment, running.hostname, after=1) == "2"
        assert deployment.waiting() == deployment.unacked() == 0, "neither will ever run"


@pytest.mark.long
def test_a_task_that_rejects_its_message_and_has_it_put_back_is_no_failure_until_it_is_gone(
    deployment: Deployment,
) -> None:
    with worker(pool="threads", env=deployment.env) as running:
        deployment.celery.send_task("sample.late_reject")
        assert failed(deployment, running.hostname, after=2) == "0", "it ran again, and went well"
        ends(deployment, "requeue")  # acknowledged before it began: it can't go back
        assert failed(deployment, running.hostname, after=3) == "1"


@pytest.mark.slow
def test_a_task_that_takes_its_process_with_it_failed_and_one_that_runs_again_for_that_or_was_ended_did_not(
    deployment: Deployment,
) -> None:
    with worker(env=deployment.env) as running:
        ends(deployment, "exit")
        assert failed(deployment, running.hostname, after=1) == "1"
        deployment.celery.send_task("sample.survives")
        assert failed(deployment, running.hostname, after=3) == "1"
        ended = deployment.celery.send_task("sample.short", kwargs={"seconds": 60})
        deployment.records.wait_for(4)
        deployment.celery.control.revoke(ended.id, terminate=True)
        assert failed(deployment, running.hostname, after=4) == "1"


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", *(pool for pool in GREEN if pool == "gevent")])
def test_a_task_that_exceeds_its_time_limit_failed_once(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        deployment.celery.send_task("sample.short", kwargs={"seconds": 60}, time_limit=1)
        assert failed(deployment, running.hostname, after=1) == "1"


@pytest.mark.slow
def test_a_celery_whose_failures_can_not_be_watched_leaves_a_worker_that_pauses_and_says_what_it_can_not_count(
    deployment: Deployment,
) -> None:
    with worker(pool="solo", env={**deployment.env, "SAMPLE_BREAK": "endings"}) as running:
        ends(deployment, "error")
        assert failed(deployment, running.hostname, after=1) == ""
        assert running.log.count("failed tasks are not counted; this version of Celery has no Request.moved_on") == 1
        assert deployment.health(running.hostname)["pausing"] == "ready"
        (stats,) = Workers(deployment.broker).read()
        assert stats.failed is None


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", *OTHERS])
def test_a_worker_tells_what_it_runs_since_when_and_not_with_which_arguments(deployment: Deployment, pool: str) -> None:
    workers = Workers(deployment.broker)
    with worker(pool=pool, env=deployment.env, queues=["celery", "emails"]) as running:
        sent = [
            deployment.celery.send_task("sample.short", ["hunter2"], kwargs={"seconds": 4}, queue=queue).id
            for queue in (["emails"] if pool == "solo" else ["emails", "celery"])
        ]
        eventually(lambda: len(workers.running(running.hostname)) == len(sent), what="it tells what it runs")
        tasks = workers.running(running.hostname)
        assert {task.task_id for task in tasks} == set(sent)
        assert {task.queue for task in tasks} == {"emails", "celery"} - ({"celery"} if pool == "solo" else set())
        assert {task.name for task in tasks} == {"sample.short"}
        starts = {start.task_id: start.at for start in deployment.records.starts()}
        for task in tasks:
            assert task.started_at is not None
            assert task.started_at.timestamp() == pytest.approx(starts[task.task_id], abs=0.5)
        assert "hunter2" not in str(deployment.health(running.hostname))
        eventually(lambda: workers.running(running.hostname) == (), what="they have ended")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["threads", *GREEN])
def test_of_many_running_tasks_those_that_run_longest_are_told(deployment: Deployment, pool: str) -> None:
    workers, number = Workers(deployment.broker), MOST_RUNNING + 5
    with worker(pool=pool, concurrency=number, env=deployment.env) as running:
        for _ in range(number):
            deployment.celery.send_task("sample.short", kwargs={"seconds": 6})
        deployment.records.wait_for(number)
        eventually(lambda: deployment.health(running.hostname).get("active") == str(number), what="all run")
        tasks = workers.running(running.hostname)
        assert len(tasks) == MOST_RUNNING
        starts = [task.started_at for task in tasks]
        assert starts == sorted(starts)
        longest = sorted(deployment.records.starts(), key=lambda start: start.at)[:MOST_RUNNING]
        # Two that begin within a few milliseconds may be told the other way round than they wrote it down.
        assert len({task.task_id for task in tasks} - {start.task_id for start in longest}) <= 3
        assert len(deployment.health(running.hostname)["running"]) < 8_000
        assert time.time() - deployment.records.starts()[0].at < 6, "nothing has ended meanwhile"
