"""A pause outlives a Sentinel failover: real sentinels, a replica that takes over, workers that follow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sample_app import make_app
from support.sentinels import MASTER, Watched, watched
from support.workers import Records, eventually, worker

import opsdash
from opsdash.services.console import Console
from opsdash.services.database import migrations

pytestmark = pytest.mark.slow


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as made:
        yield made


@pytest.fixture
def ops(sentinels: Watched, tmp_path: Path) -> Iterator[Console]:
    url = f"sqlite:///{tmp_path / 'o.sqlite3'}"
    migrations.upgrade(url)
    with contextlib.closing(opsdash.connect(redis_url=sentinels.url, database_url=url)) as console:
        yield console


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("crash", [True, False], ids=["the master dies", "the master is demoted"])
def test_a_pause_outlives_a_failover_and_no_task_is_lost_or_run_twice(
    sentinels: Watched, ops: Console, valkey_url: str, pool: str, crash: bool
) -> None:
    celery = make_app(sentinels.kombu_url, master_name=MASTER)
    celery.conf.broker_pool_limit = 0
    env = {"OPSDASH_REDIS_URL": sentinels.kombu_url, "SAMPLE_MASTER": MASTER, "SAMPLE_RECORDS_URL": valkey_url}
    with (
        contextlib.closing(celery),
        contextlib.closing(Records(valkey_url)) as records,
        worker(pool=pool, env=env) as running,
    ):

        def send(number: int) -> list[str]:
            with celery.connection_for_write() as connection:
                return [celery.send_task("sample.short", [n], connection=connection).id for n in range(number)]

        ids = send(20)
        records.wait_for(20)
        ops.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
        eventually(lambda: ops.get_worker_stats()[0].paused, what="the pause is confirmed")
        ids += send(20)
        old = sentinels.fail_over(crash=crash)
        eventually(lambda: _reports_paused(ops), timeout_s=40, what="the worker follows to the new master")
        assert records.stay(3.0) == 0, "a task began although all queues are paused"
        assert ops.is_processing_paused()
        if crash:
            old.start()  # it comes back, and is a replica now
        ops.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
        records.wait_for(40, timeout_s=40)
        records.stay(1.0)
        assert records.times_run() == dict.fromkeys(ids, 1)
        assert running.running


def _reports_paused(ops: Console) -> bool:
    """The worker's own report reaches the master of now, and is of after the failover."""
    with contextlib.suppress(opsdash.Unavailable):
        before = ops.get_worker_stats()[0].heartbeat_at
        eventually(lambda: ops.get_worker_stats()[0].heartbeat_at > before, timeout_s=5, what="a fresh report")
        return ops.get_worker_stats()[0].paused
    return False


def test_the_console_without_a_master_says_so_and_works_again_once_there_is_one(
    sentinels: Watched, ops: Console
) -> None:
    assert ops.snapshot().redis_error == ""
    sentinels.fail_over(crash=True)
    eventually(lambda: ops.snapshot().redis_error == "", timeout_s=20, what="the console follows")
    ops.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
    assert ops.is_processing_paused()
    sentinels.master.kill()  # the last one
    assert "Redis at sentinel://127.0.0.1:" in ops.snapshot().redis_error
