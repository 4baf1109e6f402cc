"""A real worker whose pause keys hold somebody else's values: the flag alone decides."""

from __future__ import annotations

import json

import pytest
from support.deployment import Deployment, each_exactly_once
from support.workers import eventually, worker

DEEP = "[" * 100_000


def paused(deployment: Deployment, hostname: str) -> bool:
    return deployment.health(hostname).get("paused") == "1"


@pytest.mark.long
def test_no_value_beside_the_flag_and_no_nudge_keeps_a_worker_from_pausing(deployment: Deployment) -> None:
    client, keys = deployment.redis, deployment.keys
    foreign = ["9" * 5_000, "0x1", "nan"]
    with worker(pool="threads", queues=["celery", "emails"], env=deployment.env) as running:
        eventually(lambda: deployment.health(running.hostname), what="its first report")
        for text in foreign:
            client.set(keys.pause_epoch, text)
            client.set(keys.pause_info, DEEP)
            client.set(keys.expires, text)
            client.lpush(keys.expires_declared, text)
            for nudge in (
                DEEP,
                b"\xff\x00",
                "9" * 5_000,
                json.dumps({"paused": True, "field": {"a": [1]}}),
                "x" * 100_000,
            ):
                client.publish(keys.nudge, nudge)
            client.lpush(keys.pause(), "a flag that is a list")
            eventually(lambda: paused(deployment, running.hostname), timeout_s=5, what="it pauses")
            assert deployment.health(running.hostname)["pausing"] == "ready"
            ids = deployment.send(3)
            assert deployment.records.stay(0.3) == 0
            client.delete(keys.pause())
            deployment.records.wait_for(3)
            assert deployment.records.times_run() == each_exactly_once(ids)
            deployment.records.redis.flushdb()
        client.set(keys.pause_epoch, "9" * 5_000)
        client.set(keys.pause_info, DEEP)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        deployment.resume()
        deployment.wait_until_confirmed(running.hostname)
        assert "stumbled" not in running.log
        assert "can't be" not in running.log
