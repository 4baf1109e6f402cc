"""With real workers: tasks fail, are retried once what they need is mended, and succeed, each once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest
from support.deployment import Deployment
from support.failures import store_of, wait_for
from support.workers import GREEN, eventually, worker

import opsdash
from opsdash.model import Actor, Role
from opsdash.services.console import Console

POOLS = ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("solo", "threads", *GREEN))]


@pytest.fixture
def console(deployment: Deployment, sqlite_url: str) -> Iterator[Console]:
    url = deployment.server.url
    with contextlib.closing(opsdash.connect(redis_url=url, database_url=sqlite_url, queues=("celery",))) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_tasks_that_failed_are_retried_after_mending_and_succeed_once(
    deployment: Deployment, console: Console, pool: str
) -> None:
    with worker(pool=pool, env=deployment.env):
        sent = deployment.send(20, "sample.until_mended", expires=3_600)
        failures = wait_for(deployment, 20)
        assert {failure.retries for failure in failures} == {1}
        retry = opsdash.RetryFailed(task="sample.until_*", error="*ConnectionError")
        # What a worker still reports as running is left out.
        eventually(lambda: console.preview(retry).values()["going"] == 20, what="the worker reports their end")
        preview = console.preview(retry)
        assert (preview.values()["going"], preview.values()["with_retries"]) == (20, 20)
        effect = console.run(retry, actor="maria", confirm="YES", reviewed=preview)
        assert effect.affected == 20
        eventually(lambda: store_of(deployment).page().total == 20, what="all have failed again: nothing was mended")
        eventually(lambda: console.preview(retry).values()["going"] == 20, what="the worker reports their end")
        deployment.redis.set("sample:mended", "1")
        effect = console.run(retry, actor="maria", confirm="YES")
        assert (effect.affected, effect.details["by_queue"]) == (20, {"celery": 20})
        deployment.records.wait_for(20)
        eventually(lambda: deployment.waiting() == deployment.unacked() == 0, what="all is done")
    assert deployment.records.times_run() == Counter(sent), "each succeeded once, by its own id"
    assert store_of(deployment).page().total == 0


def test_tasks_of_a_paused_queue_wait_after_a_retry_and_run_after_the_resume(
    deployment: Deployment, console: Console
) -> None:
    with worker(pool="threads", env=deployment.env) as running:
        sent = deployment.send(3, "sample.until_mended")
        wait_for(deployment, 3)
        deployment.redis.set("sample:mended", "1")
        deployment.pause("celery")
        deployment.wait_until_confirmed(running.hostname)
        retry = opsdash.RetryFailed(ids=" ".join(sent))
        preview = console.preview(retry)
        texts = [line.text for line in preview.lines]
        assert "Queue celery is paused: 3 tasks will wait there until it is resumed." in texts
        assert console.run(retry, actor="maria", confirm="YES", reviewed=preview).affected == 3
        # A fetch that was under way when the pause came gets one, and gives it back.
        eventually(lambda: deployment.waiting() == 3, what="all three wait")
        deployment.resume("celery")
        deployment.records.wait_for(3)
    assert deployment.records.times_run() == Counter(sent)


def test_an_edited_task_runs_with_its_new_arguments(deployment: Deployment, console: Console) -> None:
    with worker(pool="threads", env=deployment.env):
        (sent,) = deployment.send(1, "sample.until_mended")
        wait_for(deployment, 1)
        eventually(lambda: deployment.unacked() == 0, what="it is acknowledged, after it was kept")
        retry = opsdash.RetryFailed(ids=sent)
        eventually(lambda: console.preview(retry).values()["going"] == 1, what="the worker reports its end")
        deployment.redis.set("sample:mended", "1")
        edit = opsdash.EditFailed(failure_id=sent, args='["mended"]')
        assert console.run(edit, actor=Actor(name="maria", role=Role.ADMIN), confirm="YES").affected == 1
        deployment.records.wait_for(1)
    (start,) = deployment.records.starts()
    assert (start.task_id, start.argument) == (sent, "mended")


def test_members_of_a_chord_are_left_out_unless_asked_for(deployment: Deployment, console: Console) -> None:
    body = deployment.celery.signature("sample.short")
    with worker(pool="threads", env={**deployment.env, "SAMPLE_RESULTS": "yes"}):
        deployment.send(2, "sample.until_mended", group_id="g", chord=body)
        failures = wait_for(deployment, 2)
        assert all(failure.chord for failure in failures)
        values = console.preview(opsdash.RetryFailed(task="*")).values()
        assert (values["going"], values["left_out_chord"]) == (0, 2)
