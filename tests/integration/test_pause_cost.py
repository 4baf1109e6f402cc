"""What the plug-in costs a worker that is not paused: not one Redis command per task."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from support.deployment import Deployment
from support.workers import GREEN, eventually, worker

TASKS = 200
BY_TIME = 2.0
"""Reads of the flag and reports come by time, every two seconds, whatever runs."""
POOLS = ["prefork", "threads", "solo", *GREEN]


def commands(deployment: Deployment) -> Counter[str]:
    """How often each command has been sent to the broker, inside scripts and transactions too."""
    statistics = deployment.redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): int(said["calls"]) for name, said in statistics.items()})


def sent_while_tasks_run(deployment: Deployment, pool: str, **env: str) -> tuple[Counter[str], float]:
    """The commands it took to run the tasks, and for how long they were counted."""
    with worker(pool=pool, queues=["celery"], env={**deployment.env, **env}) as running:
        done = len(deployment.records)
        deployment.send(1)
        deployment.records.wait_for(done + 1)
        if not env:
            eventually(lambda: deployment.health(running.hostname), what="its first report")
        before, began = commands(deployment), time.monotonic()
        deployment.send(TASKS)
        deployment.records.wait_for(done + 1 + TASKS)
        eventually(lambda: deployment.unacked() == 0, what="all acknowledged")
        return commands(deployment) - before, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_is_not_paused_sends_redis_nothing_more_per_task(deployment: Deployment, pool: str) -> None:
    stock, _ = sent_while_tasks_run(deployment, pool, SAMPLE_PLUGIN="no")
    plugged, lasted_s = sent_while_tasks_run(deployment, pool)
    assert plugged["brpop"] >= TASKS
    assert stock["exists"] == stock["getrange"] == 0, "only the plug-in reads with them"
    # What this test asks, and what a worker sends by time (its fetches that found nothing, its heartbeat), differ.
    waits = {"llen", "hlen", "info", "brpop", "publish", "ping", "client", "lrange"}
    turns = 2 + lasted_s / BY_TIME
    for command in (plugged | stock).keys() - waits:
        assert plugged[command] <= stock[command] + 4 * turns, f"{command}: {plugged[command]}, stock {stock[command]}"
    assert plugged["getrange"] <= turns, "one read of the flags every two seconds"
    assert plugged["exists"] <= 2 * turns + 10, (
        "and no look at a single flag, but for the script of a connection's begin"
    )
    assert plugged["brpop"] <= stock["brpop"] + 10, "and no fetch more"
    assert plugged["publish"] <= stock["publish"] + 10
