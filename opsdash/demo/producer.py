"""Keeps the sample queues moving: a few tasks a second, a backlog that comes and goes, never more than a bound."""

from __future__ import annotations

import logging
import math
import random
import sys
import time
from typing import Any

from kombu.exceptions import OperationalError

from opsdash.demo import QUEUES
from opsdash.demo.tasks import KINDS, Kind, app

TICK_S = 0.5
FEW, MANY = 15, 90
"""The backlog swings between these, so that there is always something to see and to clear."""
WAVE_S = 90.0
PER_TICK = 4
FIRST = 40
"""Tasks in each queue at once: the workers prefetch two dozen, and the page shows the rest as pending."""
FULL = 5_000
"""Waiting messages of one queue above which nothing is added: a demo may be left paused overnight."""

log = logging.getLogger("opsdash.demo.producer")


def quota(waiting: int, seconds: float, phase: float) -> int:
    """How many tasks to add to a queue in this tick.

    One at least, so that a paused queue is seen to grow; more while the backlog is below the wave; none when full.

    Args:
        waiting: Messages in the queue now.
        seconds: Since the producer's first round; 0 is that one.
        phase: Where this queue is in its wave at the start, 0 to 1.
    """
    if waiting >= FULL:
        return 0
    if seconds == 0:
        return FIRST
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
        headers={"sent_at": time.time()},  # Celery writes no time into a message; this is what --older-than goes by
        countdown=random.uniform(*kind.delay_s) if kind.delay_s else None,  # noqa: S311 - nothing here is secret
    )


def round_of_tasks(channel: Any, seconds: float) -> None:
    """Adds to each queue what it lacks. Cost: one pipeline of four LLEN for each queue, one LPUSH a task."""
    for index, queue in enumerate(QUEUES):
        # kombu's own count, over all priority lists, with the key prefix; private, but good enough for a demo.
        number = quota(int(channel._size(queue)), seconds, phase=0.15 + index / 2)
        kinds = [kind for kind in KINDS if kind.queue == queue]
        for kind in random.choices(kinds, [kind.share for kind in kinds], k=number):  # noqa: S311 - samples
            send(kind)


def main() -> None:
    """Produces until SIGTERM ends it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    started: float | None = None
    with app.connection_for_write() as connection:
        while True:
            try:
                round_of_tasks(connection.default_channel, time.monotonic() - started if started else 0.0)
                if started is None:
                    started = time.monotonic()
                    log.info("producing")
            except (OperationalError, *connection.connection_errors) as error:
                log.warning("the broker does not answer (%s); trying again", error)
            time.sleep(TICK_S)


if __name__ == "__main__":
    main()
