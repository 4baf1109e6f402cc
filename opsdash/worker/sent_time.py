"""Stamps each message that this process sends with the time: Celery itself writes none into a message."""

from __future__ import annotations

import time
from typing import Any

from opsdash.keys import SENT

UID = "opsdash.sent"
"""By which the signal's receiver is known."""


def stamp_sent_messages() -> None:
    """From now on each task message of this process has the header ``opsdash_sent``; twice is once.

    Celery gives the signal for whatever sends: a call, a retry, a step of a chain, the body of a chord, beat. A retry
    carries the headers of the try before it, and this one replaces the old time. Cost: under 1 µs a message.
    """
    from celery.signals import before_task_publish

    before_task_publish.connect(_stamp, dispatch_uid=UID, weak=False)


def _stamp(headers: Any = None, **_: Any) -> None:
    if isinstance(headers, dict):
        headers[SENT] = time.time()
