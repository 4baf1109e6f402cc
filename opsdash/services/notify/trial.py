"""A message to each address, to see which of them takes one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

from opsdash.config.settings import Settings
from opsdash.model.notification import TestNotification
from opsdash.services.notify.outbox import now_utc
from opsdash.services.notify.targets import Ready, Target, ready, targets
from opsdash.services.notify.webhook import NotTaken
from opsdash.values import frozen


@frozen(kw_only=True)
class Tried:
    """What one address answered.

    Attributes:
        address: Its scheme, and its host where that can't be a token.
        taken: It took the message. ``reason``: why not.
        took_s: How long that took; None: it was not tried.
    """

    address: str
    taken: bool
    reason: str = ""
    took_s: float | None = None


def send_test(settings: Settings, by: str) -> Iterator[Tried]:
    """Sends one message to each address, one after the other, whatever the quiet hours."""
    found, problems = targets(settings)
    notification = TestNotification(at=now_utc(), by=by)
    message = ready(notification, uuid4().hex, environment=settings.environment)
    for target in found:
        yield _tried(target, message)
    for problem in problems:
        address, _, reason = problem.partition(": ")
        yield Tried(address=address, taken=False, reason=reason)


def _tried(target: Target, message: Ready) -> Tried:
    began_s = time.monotonic()
    reason = ""
    try:
        target.send(message)
    except NotTaken as error:
        reason = str(error)
    return Tried(address=target.label, taken=not reason, reason=reason, took_s=round(time.monotonic() - began_s, 3))
