"""Sample workflows: a chain that stops in the middle until that is mended, and a task that sends a group."""

from __future__ import annotations

from celery import chain
from celery.canvas import Signature

from opsdash.demo import QUEUES
from opsdash.demo.tasks import CHAINED, Failing, app

EVERY_S = 45.0
"""Between two reports: about as long as the parts of one wait and run."""
MIDDLE = "payments.capture"
"""The sample that fails in the middle of a chain; what is behind it there is sent when it has succeeded."""


def with_its_chain(one: Failing) -> Signature:
    """A sample that fails, as the middle of its chain where it has one."""
    middle = app.signature(one.task, kwargs=one.arguments, queue=one.queue, priority=0, immutable=True)
    middle.set(headers={"tenant_id": one.tenant})
    if one.task != MIDDLE:
        return middle
    order = {"subject": f"order {one.arguments['order']}", "seconds": 0.2}
    first, last = (
        app.signature(name, kwargs=order, queue=queue, priority=0, immutable=True)
        for name, queue in zip(CHAINED, QUEUES, strict=True)
    )
    return chain(first, middle, last)


def report() -> Signature:
    """A task that sends a group: its parts are behind all else that waits."""
    return app.signature("reports.quarter", queue=QUEUES[0], priority=0, immutable=True)


def reports_due(seconds: float) -> int:
    """How many reports are sent by now: the first at the start.

    Args:
        seconds: Since the producer's start.
    """
    return 1 + int(seconds / EVERY_S)
