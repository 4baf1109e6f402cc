"""Keeps the sample queues moving: a few tasks a second, a backlog that comes and goes, never more than a bound."""

from __future__ import annotations

import logging
import math
import random
import signal
import sys
import threading
import time
from typing import Any

from kombu.exceptions import OperationalError

from opsdash.demo.tasks import KINDS, QUEUES, Kind, app

TICK_S = 0.5
FEW, MANY = 15, 90
"""The backlog swings between these, so that there is always something to see and to clear."""
WAVE_S = 90.0
PER_TICK = 4
FIRST = 40
"""Tasks in each queue at once: the workers prefetch two dozen, and whoever opens the page sees the rest waiting."""
FULL = 5_000
"""Waiting messages of one queue above which nothing is added: a demo may be left paused overnight."""
STARTED = "producing"

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
        kwargs={"seconds": round(random.uniform(*kind.seconds), 2), "subject": f"sample-{random.randrange(10_000)}"},  # noqa: S311
        queue=kind.queue,
        priority=kind.priority,
        headers={"sent_at": time.time()},  # Celery writes no time into a message; this is what --older-than goes by
        countdown=random.uniform(*kind.delay_s) if kind.delay_s else None,  # noqa: S311 - nothing here is secret
    )


def produce(connection: Any, stopped: threading.Event) -> None:
    """Adds tasks until told to stop. Cost: one pipeline of four LLEN for each queue and tick, one LPUSH a task."""
    kinds = {queue: [kind for kind in KINDS if kind.queue == queue] for queue in QUEUES}
    started: float | None = None
    while not stopped.is_set():
        try:
            for index, queue in enumerate(QUEUES):
                # kombu's own count, over all priority lists, with the key prefix; private, but good enough for a demo.
                waiting = int(connection.default_channel._size(queue))
                seconds = time.monotonic() - started if started else 0.0
                number = quota(waiting, seconds, phase=0.15 + index / 2)
                for kind in random.choices(kinds[queue], [kind.share for kind in kinds[queue]], k=number):  # noqa: S311
                    send(kind)
            if started is None:
                started = time.monotonic()
                log.info(STARTED)
        except (OperationalError, *connection.connection_errors) as error:
            log.warning("the broker does not answer (%s); trying again", error)
        stopped.wait(TICK_S)


def main() -> int:
    """Produces until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with app.connection_for_write() as connection:
        produce(connection, stopped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
