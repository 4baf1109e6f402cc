"""What happens to a worker while it is paused: it is stopped coldly, it scales itself, its broker is flushed."""

from __future__ import annotations

import os
import signal

import pytest
from support.deployment import Deployment, each_exactly_once
from support.workers import GREEN, eventually, worker

POOLS = ["prefork", "threads", "solo", *GREEN]


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_paused_worker_that_is_stopped_coldly_loses_nothing(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        ids = deployment.send(40, kwargs={"seconds": 0.05})
        deployment.records.wait_for(5)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        eventually(lambda: deployment.health(running.hostname)["active"] == "0", what="what ran has ended")
        os.kill(running.pid, signal.SIGQUIT)
        eventually(lambda: not running.running, what="it has ended")
    assert deployment.waiting() + len(deployment.records) == 40
    assert deployment.unacked() == 0
    with worker(pool=pool, env=deployment.env) as successor:
        deployment.wait_until_confirmed(successor.hostname)
        assert deployment.records.stay(0.5) == 0, "the next worker starts paused"
        deployment.resume()
        deployment.records.wait_for(40)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.slow
def test_a_worker_that_scales_itself_down_during_a_pause_scales_up_after_it(deployment: Deployment) -> None:
    env = {**deployment.env, "AUTOSCALE_KEEPALIVE": "1"}
    with worker(env=env, arguments=["--autoscale", "4,1"]) as running:
        ids = deployment.send(80, kwargs={"seconds": 0.3})
        eventually(lambda: len(deployment.children(running.hostname)) == 4, what="four children")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        eventually(lambda: deployment.health(running.hostname)["active"] == "0", what="what ran has ended")
        began = len(deployment.records)
        eventually(lambda: len(deployment.children(running.hostname)) == 1, timeout_s=20, what="one child")
        assert len(deployment.records) == began < 80
        deployment.resume()
        eventually(lambda: len(deployment.children(running.hostname)) == 4, timeout_s=20, what="four children again")
        deployment.records.wait_for(80)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_flush_during_a_pause_takes_flag_and_tasks_and_the_worker_works_on(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        deployment.send(10)
        assert deployment.records.stay(0.5) == 0
        deployment.redis.flushall()
        eventually(lambda: deployment.health(running.hostname).get("paused") == "0", timeout_s=5, what="resumed")
        ids = deployment.send(10)
        deployment.records.wait_for(10)
        assert deployment.health(running.hostname)["pausing"] == "ready"
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ids += deployment.send(5)
        assert deployment.records.stay(0.5) == 0, "the next pause holds"
        deployment.resume()
        deployment.records.wait_for(15)
    assert deployment.records.times_run() == each_exactly_once(ids)
