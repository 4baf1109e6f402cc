"""The network between worker and broker goes away during a pause, for a moment or for longer; the broker restarts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.deployment import Deployment, each_exactly_once
from support.proxy import Proxy, proxy
from support.workers import Worker, eventually, worker

from opsdash.worker.watcher import GRACE_S

pytestmark = pytest.mark.slow


@pytest.fixture
def cable(deployment: Deployment) -> Iterator[Proxy]:
    with proxy(deployment.server.port) as made:
        yield made


def behind(cable: Proxy, deployment: Deployment) -> dict[str, str]:
    """The worker reaches the broker by the cable; what its tasks write down takes another way."""
    return {
        **deployment.env,
        "OPSDASH_REDIS_URL": f"redis://127.0.0.1:{cable.port}/0",
        "SAMPLE_RECORDS_URL": deployment.server.url,
    }


def paused_with_work(deployment: Deployment, running: Worker) -> list[str]:
    ids = deployment.send(20)
    deployment.records.wait_for(20)
    deployment.pause()
    deployment.wait_until_confirmed(running.hostname)
    return ids + deployment.send(30)


def says_that_it_is_paused(deployment: Deployment, running: Worker) -> bool:
    return deployment.health(running.hostname).get("paused") == "1"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("seconds", [2.0, GRACE_S + 4], ids=["shorter than the grace", "longer than the grace"])
def test_a_cut_cable_neither_starts_nor_loses_nor_doubles_a_task_of_a_paused_worker(
    deployment: Deployment, cable: Proxy, pool: str, seconds: float
) -> None:
    with worker(pool=pool, env=behind(cable, deployment)) as running:
        ids = paused_with_work(deployment, running)
        cable.cut()
        assert deployment.records.stay(seconds) == 0, "there is nothing it could fetch"
        cable.mend()
        assert deployment.records.stay(3.0) == 0, "the pause holds once the flag can be read"
        deployment.redis.delete(deployment.keys.worker(running.hostname))
        eventually(
            lambda: says_that_it_is_paused(deployment, running), what="a report of a paused worker", timeout_s=20
        )
        deployment.resume()
        deployment.records.wait_for(50)
        deployment.records.stay(1.0)
        assert deployment.records.times_run() == each_exactly_once(ids)


def test_a_worker_that_can_not_read_the_flag_holds_for_the_grace_and_then_says_that_tasks_run(
    deployment: Deployment, cable: Proxy
) -> None:
    with worker(pool="threads", env=behind(cable, deployment)) as running:
        paused_with_work(deployment, running)
        cable.cut()
        running.wait_for_log(f"stays for {GRACE_S:g} s, then tasks run")
        running.wait_for_log("the pause flag can't be read, so tasks run", timeout_s=GRACE_S + 10)
        cable.mend()
        running.wait_for_log("the pause flag can be read again")
        assert deployment.records.stay(2.0) == 0


@pytest.mark.parametrize("crash", [False, True], ids=["a restart", "a crash"])
def test_a_pause_outlives_a_broker_that_keeps_its_data(deployment: Deployment, crash: bool) -> None:
    deployment.redis.config_set("appendonly", "yes")
    deployment.redis.config_set("appendfsync", "always")
    try:
        with worker(pool="prefork", env=deployment.env) as running:
            ids = paused_with_work(deployment, running)
            eventually(lambda: deployment.redis.info("persistence")["aof_rewrite_in_progress"] == 0, what="the AOF")
            if not crash:
                deployment.server.stop()
            else:
                deployment.server.kill()
            deployment.server.start_with("--appendonly", "yes")
            assert deployment.records.stay(3.0) == 0
            deployment.wait_until_confirmed(running.hostname)
            deployment.resume()
            deployment.records.wait_for(50)
            deployment.records.stay(1.0)
            assert deployment.records.times_run() == each_exactly_once(ids)
    finally:
        deployment.server.restore()
        deployment.redis.config_set("appendonly", "no")
