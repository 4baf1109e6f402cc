"""Workers without the plug-in: named, never called stopped, and told by Celery's own cancel_consumer when asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, each_exactly_once
from support.previews import texts
from support.workers import eventually, worker

import opsdash
from opsdash.services.console import Console
from opsdash.services.database import migrations
from opsdash.services.pause.verdict import verdict
from opsdash.services.pause.verdict_text import describe

BARE = {"SAMPLE_PLUGIN": "no"}


@pytest.fixture
def ops(deployment: Deployment, tmp_path: Path) -> Iterator[Console]:
    url = f"sqlite:///{tmp_path / 'o.sqlite3'}"
    migrations.upgrade(url)
    with contextlib.closing(
        opsdash.connect(redis_url=deployment.server.url, database_url=url, queues=("celery", "emails", "reports"))
    ) as console:
        yield console


@pytest.mark.long
def test_a_worker_without_the_plug_in_is_named_and_nobody_is_told_it_is_safe_to_deploy(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="solo", env=deployment.env) as held, worker(pool="solo", env={**deployment.env, **BARE}) as free:
        ops.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
        deployment.wait_until_confirmed(held.hostname)
        ops.unmanaged.look()
        stand = verdict(ops.snapshot())
        assert stand is not None
        assert not stand.safe
        assert f"Not managed by opsdash: {free.hostname}." in describe(stand)
        assert "safe to deploy" not in describe(stand)
        assert any(free.hostname in line for line in texts(ops.preview(opsdash.PauseProcessing())))
        free.stop()
        ops.unmanaged.look()
        stand = verdict(ops.snapshot())
        assert stand is not None
        assert stand.safe, describe(stand)
        assert "safe to deploy" in describe(stand)


@pytest.mark.long
def test_pause_can_also_stop_workers_without_the_plug_in_and_resume_undoes_just_that(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="solo", queues=["celery", "emails"], env={**deployment.env, **BARE}) as free:
        ops.unmanaged.look()
        deployment.celery.control.cancel_consumer("emails", destination=[free.hostname], reply=True)
        effect = ops.run(opsdash.PauseProcessing(cancel_consumer=True), actor="maria", confirm="YES")
        assert "1 of 1 unmanaged worker confirmed" in effect.message
        assert effect.details["cancel_consumer"] == {free.hostname: ["celery"]}
        deployment.records.stay(1.2)  # what it was fetching already
        ids = deployment.send(5)
        assert deployment.records.stay(1.0) == 0
        effect = ops.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
        assert effect.details["add_consumer"] == {free.hostname: ["celery"]}
        deployment.records.wait_for(5)
        queues = deployment.celery.control.inspect([free.hostname], timeout=5).active_queues()[free.hostname]
        assert [queue["name"] for queue in queues] == ["celery"], "emails was cancelled by somebody else"
    assert deployment.records.times_run() == each_exactly_once(ids)


def test_workers_told_to_stop_go_on_when_the_pause_expires_or_is_deleted_by_hand(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="solo", queues=["celery"], env={**deployment.env, **BARE}):
        ops.run(opsdash.PauseProcessing(cancel_consumer=True), actor="maria", confirm="YES")
        deployment.redis.delete(deployment.keys.pause())
        deployment.send(1)
        ops.unmanaged.look()
        deployment.records.wait_for(1)
        assert not deployment.redis.exists(deployment.keys.pause_cancelled)


def test_a_queue_with_a_pause_of_its_own_stays_cancelled_when_everything_is_resumed(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="solo", queues=["celery", "emails"], env={**deployment.env, **BARE}) as free:
        ops.run(opsdash.PauseProcessing(cancel_consumer=True), actor="maria", confirm="YES")
        ops.run(opsdash.PauseProcessing(queue="emails"), actor="maria", confirm="YES")
        effect = ops.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
        assert effect.details["add_consumer"] == {free.hostname: ["celery"]}
        effect = ops.run(opsdash.ResumeProcessing(queue="emails"), actor="maria", confirm="YES")
        assert effect.details["add_consumer"] == {free.hostname: ["emails"]}


def test_bindings_lost_in_a_flush_do_not_hide_a_worker_without_the_plug_in(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="solo", env={**deployment.env, **BARE}) as free:
        deployment.redis.flushall()
        eventually(
            lambda: [other.hostname for other in ops.unmanaged.look() or ()] == [free.hostname],
            what=f"{free.hostname} found",
        )
