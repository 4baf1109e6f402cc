"""The sample deployment's Celery app: two queues, work that only sleeps, tasks that fail, a report of parts."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

from celery import Celery, group
from kombu.entity import Queue

import opsdash.worker
from opsdash.demo import MENDED, QUEUES
from opsdash.demo.schedule import SCHEDULE

PREFIX = os.environ.get("OPSDASH_DEMO_PREFIX")
"""Of every key on a broker that is not the demo's own, so that nothing of its owner's is touched."""
LONGEST_S = 6.0
"""No task sleeps longer: an ordered stop waits for running tasks."""

app = Celery("demo", broker=os.environ.get("OPSDASH_REDIS_URL", "redis://localhost:6379/0"), set_as_current=False)
app.conf.update(
    task_queues=[Queue(name, routing_key=name) for name in QUEUES],  # type: ignore[no-untyped-call]  # kombu has no types
    task_default_queue=QUEUES[0],
    task_ignore_result=True,
    task_default_priority=5,
    broker_transport_options={
        "priority_steps": [0, 3, 6, 9],
        "queue_order_strategy": "priority",
        **({"global_keyprefix": PREFIX} if PREFIX else {}),
    },
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    beat_schedule=SCHEDULE,
    result_expires=None,  # there are no results: beat's own entry that cleans them up is not needed
)
opsdash.worker.install(app)

# Two lines a task would fill the log of a demo that runs for days; warnings and errors stay.
for noisy in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


class Kind(NamedTuple):
    """One kind of sample work."""

    task: str
    queue: str
    seconds: tuple[float, float]  # shortest and longest run
    share: int  # how often it is chosen, relative to the other kinds of its queue
    priority: int = 5  # 0 is next, 9 is last
    delay_s: tuple[float, float] | None = None  # until it may run (ETA)


KINDS = (
    Kind("images.resize", "celery", (0.1, 0.6), 12),
    Kind("reports.monthly", "celery", (3.0, LONGEST_S), 2, priority=9),
    Kind("orders.charge", "celery", (0.2, 0.8), 4, priority=0),
    Kind("inventory.recount", "celery", (0.5, 1.5), 2, delay_s=(10, 40)),
    Kind("emails.welcome", "emails", (0.2, 0.8), 10),
    Kind("emails.password_reset", "emails", (0.1, 0.4), 4, priority=0),
    Kind("emails.newsletter", "emails", (1.0, 3.0), 5, priority=9),
    Kind("emails.reminder", "emails", (0.2, 0.6), 2, delay_s=(10, 40)),
)

TENANTS = {"tenant-003": 6, "tenant-017": 3, "tenant-042": 2, "tenant-101": 1, "": 4}
"""Whose sample tasks are, and how often; empty: nobody's. One sends more than the others: a tenant to hold."""


def work(seconds: float, subject: str = "") -> None:  # noqa: ARG001 - an argument to look at in a queue's listing
    """Sleeps, as a real task would be busy."""
    time.sleep(min(seconds, LONGEST_S))


CHAINED = ("stock.reserve", "emails.receipt")
"""What runs before and after a sample payment: see `opsdash.demo.workflows`."""
PART = "reports.region"
REGIONS = ("Africa", "Caribbean", "Central Asia", "Europe", "Middle East", "North America", "Oceania", "South America")

for _name in (*(kind.task for kind in KINDS), *CHAINED, PART):
    app.task(work, name=_name)


@app.task(name="reports.quarter")  # type: ignore[untyped-decorator] # of Celery
def quarter() -> None:
    """Sends a part for each region, behind all else that waits."""
    options = {"queue": QUEUES[0], "priority": 9}
    parts = ({"seconds": 5.0, "subject": region} for region in REGIONS)
    group(app.signature(PART, kwargs=part, **options) for part in parts).apply_async()


class Failing(NamedTuple):
    """One kind of sample work that fails."""

    task: str
    queue: str
    arguments: dict[str, object]
    tenant: str


FAILING = (
    # Until its provider is there.
    Failing("payments.capture", "celery", {"order": 4711, "amount": "19.90 EUR"}, "tenant-003"),
    # Until its arguments are edited.
    Failing("invoices.render", "celery", {"customer": "sample-12", "pages": "twelve"}, "tenant-017"),
    # Nobody has registered it.
    Failing("reports.legacy", "emails", {"month": "2019-02"}, "tenant-003"),
)


class ProviderDownError(Exception):
    """The payment provider does not answer."""


@app.task(name="payments.capture")  # type: ignore[untyped-decorator] # of Celery
def capture(order: int, amount: str) -> None:
    """Fails while the payment provider is away."""
    if not Path(MENDED).exists():  # processes of the demo run in its data folder
        raise ProviderDownError(f"payments.example does not answer: order {order}, {amount}")


@app.task(name="invoices.render")  # type: ignore[untyped-decorator] # of Celery
def render(customer: str, pages: int | str) -> None:  # noqa: ARG001 - an argument to look at
    """Fails when the number of pages is none."""
    int(pages)
