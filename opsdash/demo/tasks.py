"""The sample deployment's Celery app: two queues, a few kinds of work. The tasks only sleep: the demo stays cheap."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from celery import Celery
from kombu.entity import Queue

import opsdash.worker

REDIS_URL = "OPSDASH_REDIS_URL"
PREFIX = "OPSDASH_DEMO_PREFIX"
"""Prefix of every key on a broker that is not the demo's own, so that nothing of its owner's is touched."""
QUEUES = ("celery", "emails")
MODULE = "opsdash.demo.tasks:app"
LONGEST_S = 6.0
"""No task sleeps longer: an ordered stop waits for running tasks."""

app = Celery("demo", broker=os.environ.get(REDIS_URL, "redis://localhost:6379/0"), set_as_current=False)
app.conf.update(
    task_queues=[Queue(name, routing_key=name) for name in QUEUES],  # type: ignore[no-untyped-call]  # kombu has no types
    task_default_queue=QUEUES[0],
    task_ignore_result=True,
    task_default_priority=5,
    broker_transport_options={
        "priority_steps": [0, 3, 6, 9],
        "queue_order_strategy": "priority",
        **({"global_keyprefix": os.environ[PREFIX]} if os.environ.get(PREFIX) else {}),
    },
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
)
opsdash.worker.install(app)

# Two lines a task would fill the log of a demo that runs for days; warnings and errors stay.
for noisy in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of sample work.

    Attributes:
        task: The task's name.
        queue: Where the producer sends it.
        seconds: Shortest and longest run.
        share: How often it is chosen, relative to the other kinds of its queue.
        priority: 0 is next, 9 is last.
        delay_s: Shortest and longest time until it may run (ETA); None: at once.
    """

    task: str
    queue: str
    seconds: tuple[float, float]
    share: int
    priority: int = 5
    delay_s: tuple[float, float] | None = None


KINDS = (
    Kind(task="images.resize", queue="celery", seconds=(0.1, 0.6), share=12),
    Kind(task="reports.monthly", queue="celery", seconds=(3.0, LONGEST_S), share=2, priority=9),
    Kind(task="orders.charge", queue="celery", seconds=(0.2, 0.8), share=4, priority=0),
    Kind(task="inventory.recount", queue="celery", seconds=(0.5, 1.5), share=2, delay_s=(10, 40)),
    Kind(task="emails.welcome", queue="emails", seconds=(0.2, 0.8), share=10),
    Kind(task="emails.password_reset", queue="emails", seconds=(0.1, 0.4), share=4, priority=0),
    Kind(task="emails.newsletter", queue="emails", seconds=(1.0, 3.0), share=5, priority=9),
    Kind(task="emails.reminder", queue="emails", seconds=(0.2, 0.6), share=2, delay_s=(10, 40)),
)


def _sleeper(kind: Kind) -> Callable[[float, str], None]:
    def work(seconds: float, subject: str = "") -> None:  # noqa: ARG001 - an argument to look at in a queue's listing
        time.sleep(min(seconds, LONGEST_S))

    work.__name__ = kind.task.replace(".", "_")
    work.__doc__ = f"Sample work: sleeps, as {kind.task} would be busy."
    return work


for _kind in KINDS:
    app.task(_sleeper(_kind), name=_kind.task)
