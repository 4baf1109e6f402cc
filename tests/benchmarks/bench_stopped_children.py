"""Prefork children that stand still with a job when a pause comes: what they start once they go on."""

from __future__ import annotations

import time

from stage import server
from support.deployment import deploy
from support.workers import eventually, worker

TASKS = 120


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Tasks started in spite of the pause, and lost or run twice, per cycle."""
    figures: dict[str, list[float]] = {"started although paused": [], "lost or run twice": []}
    with server() as broker:
        for _ in range(2 if quick else 12):
            with deploy(broker) as made, worker(pool="prefork", concurrency=2, env=made.env) as running:
                made.redis.flushall()
                eventually(lambda made=made, w=running: made.health(w.hostname), what="a report")
                children = made.children(running.hostname)
                with made.stopped(children):
                    ids = made.send(TASKS)
                    time.sleep(0.5)  # the children have been handed what they can hold
                    at = made.pause()
                    made.wait_until_confirmed(running.hostname)
                time.sleep(1.0)
                figures["started although paused"].append(made.started_after(at))
                made.resume()
                made.records.wait_for(TASKS)
                made.records.stay(0.5)
                times = made.records.times_run()
                figures["lost or run twice"].append(sum(times[number] != 1 for number in ids))
    return figures, {}, "tasks"
