"""The app of light workers, and of the real one that they are compared with.

Environment: ``LIGHT_POLL_S`` is how often the plug-in reads and reports, in place of its own ``POLL_S``. For the real
one: ``OPSDASH_REDIS_URL`` the broker, ``LIGHT_QUEUES`` its queues, with a comma between two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from celery import Celery
from kombu import Exchange, Queue

import opsdash.worker
from opsdash.worker import watcher

BRPOP_S = 10
"""How long a BRPOP of theirs waits: with kombu's own second, light workers cost more than what is measured."""


def make_app(url: str, queues: Sequence[str]) -> Celery:
    """An app whose workers take from these queues, with the plug-in."""
    made = Celery("light", broker=url, set_as_current=False)
    made.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options={"polling_interval": BRPOP_S},
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in queues],
        task_default_queue=queues[0],
    )
    made.task(name="light.nothing")(nothing)
    opsdash.worker.install(made)
    return made


def nothing() -> None:
    """A task that does nothing."""


if "LIGHT_POLL_S" in os.environ:
    watcher.POLL_S = float(os.environ["LIGHT_POLL_S"])
if "LIGHT_QUEUES" in os.environ:
    app = make_app(os.environ["OPSDASH_REDIS_URL"], os.environ["LIGHT_QUEUES"].split(","))
