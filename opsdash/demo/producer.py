"""Keeps the sample queues moving: a few tasks a second, some in workflows, a backlog that comes and goes in bounds."""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter

from redis import Redis

from opsdash.demo import QUEUES
from opsdash.demo.tasks import FAILING, KINDS, PREFIX, TENANTS, Failing, Kind, app
from opsdash.demo.workflows import report, reports_due, with_its_chain
from opsdash.keys import Keys

TICK_S = 0.5
PER_TICK = 6
FEW, MANY = 15, 90
"""The backlog swings between these, so that there is always something to see and to clear."""
WAVE_S = 90.0
FULL = 5_000
"""Waiting and held messages of one queue above which nothing is added: a demo may be left paused overnight."""


FAIL_EVERY_S = 30.0
MOST_FAILING = 300
"""Samples that fail: the workers' logs have a traceback of each, and a demo may run for days."""


def quota(waiting: int, seconds: float, phase: float) -> int:
    """How many tasks to add to a queue in this tick.

    One at least, so that a paused queue is seen to grow; more while the backlog is below the wave; none when full.

    Args:
        seconds: Since the producer's start.
        phase: Where this queue is in its wave at the start, 0 to 1.
    """
    if waiting >= FULL:
        return 0
    wave = (1 - math.cos(2 * math.pi * (seconds / WAVE_S + phase))) / 2
    missing = FEW + (MANY - FEW) * wave - waiting
    return max(1, min(PER_TICK, round(missing)))


def send(kind: Kind) -> None:
    """One task, with its own length, priority and time."""
    app.send_task(
        kind.task,
        kwargs={"seconds": round(random.uniform(*kind.seconds), 2), "subject": f"sample-{random.randrange(10_000)}"},  # noqa: S311 - samples
        queue=kind.queue,
        priority=kind.priority,
        # Celery writes no time into a message; this is what --older-than goes by.
        headers={"sent_at": time.time(), **_of_a_tenant()},
        countdown=random.uniform(*kind.delay_s) if kind.delay_s else None,  # noqa: S311 - nothing here is secret
    )


def _of_a_tenant() -> dict[str, str]:
    tenant = random.choices(list(TENANTS), list(TENANTS.values()))[0]  # noqa: S311 - samples
    return {"tenant_id": tenant} if tenant else {}


def held(client: Redis, keys: Keys) -> Counter[str]:
    """How many tasks of each queue are held, or wait for a concurrency limit: they are in no queue then."""
    found: Counter[str] = Counter()
    for field in client.hkeys(keys.held_lists):
        hold_id, step, queue = os.fsdecode(field).removeprefix("!").split(":", 2)
        found[queue] += client.llen(keys.held(hold_id, step, queue))
    return found


def failing(seconds: float, sent: int) -> tuple[Failing, ...]:
    """Which samples that fail are due: one of each kind at the start, then one in turn every ``FAIL_EVERY_S``.

    Args:
        seconds: Since the producer's start. ``sent``: how many it has sent.
    """
    due = min(MOST_FAILING, len(FAILING) + int(seconds / FAIL_EVERY_S))
    return tuple(FAILING[number % len(FAILING)] for number in range(sent, due))


def main() -> None:
    """Produces until SIGTERM or the loss of the broker ends it; after that one it is started again."""
    started = time.monotonic()
    keys = Keys(PREFIX or "")
    with app.connection_for_write() as connection, Redis.from_url(app.conf.broker_url) as client:
        sent = reports = 0
        print("producing", flush=True)  # noqa: T201 - read by the supervisor
        while True:
            # kombu's own count, over all priority lists, with the key prefix; private, but good enough for a demo.
            waiting = {queue: int(connection.default_channel._size(queue)) for queue in QUEUES}
            aside = held(client, keys)
            for index, queue in enumerate(QUEUES):
                full = waiting[queue] + aside[queue] >= FULL
                number = 0 if full else quota(waiting[queue], time.monotonic() - started, phase=0.15 + index / 2)
                kinds = [kind for kind in KINDS if kind.queue == queue]
                for kind in random.choices(kinds, [kind.share for kind in kinds], k=number):  # noqa: S311 - samples
                    send(kind)
            for one in failing(time.monotonic() - started, sent):
                sent += 1
                with_its_chain(one).apply_async()
            if (due := reports_due(time.monotonic() - started)) > reports:
                reports = due
                if waiting[QUEUES[0]] < FULL:
                    report().apply_async()
            time.sleep(TICK_S)


if __name__ == "__main__":
    main()
