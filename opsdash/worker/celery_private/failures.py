"""Counting tasks that end in failure."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakMethod

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Reject
from celery.worker.request import Request

ENDINGS = ("on_failure", "on_timeout", "send_event")
"""What Celery calls when a task did not succeed. Without it pausing works, and failures are not counted."""


FAILED = "task-failed"


COUNTED = "opsdash_counted"


_failure_tellers: dict[str, WeakMethod[Callable[[], None]]] = {}
"""A worker's hostname → what counts its failures. Celery's class of requests is changed once per process, though one
process may build several workers, one after the other or side by side, as Celery's own pytest fixtures do."""


def watch_failures(hostname: str, tell: Callable[[], None]) -> str:
    """Has ``tell`` called for each task of this worker that ends in failure, in whatever thread it ends.

    A failure is what Celery has its event stream told as such, whether anybody wants events or not, and a hard time
    limit. A task that is retried, ignored, rejected or revoked is none; neither is one whose message goes back to its
    queue because its process was lost. Cost: nothing for a task that succeeds, since Celery calls none of this then.

    Args:
        hostname: The newest worker of a name has its failures counted.
        tell: A bound method; it is forgotten with its object.

    Returns:
        The private names this Celery doesn't have; empty when it works.
    """
    lost = [f"Request.{name}" for name in ENDINGS if not hasattr(Request, name)]
    if lost:
        return ", ".join(lost)
    if not _failure_tellers:
        _watch_requests()
    _failure_tellers[hostname] = WeakMethod(tell)
    return ""


def _watch_requests() -> None:
    """Changes Celery's class of requests. Once per process."""
    on_failure, on_timeout = Request.on_failure, Request.on_timeout

    def count(request: Any) -> None:
        # In prefork a time limit ends in both methods, in green pools in the second only.
        if getattr(request, COUNTED, False):
            return
        setattr(request, COUNTED, True)
        teller = _failure_tellers.get(request.hostname)
        if teller is not None and (tell := teller()) is not None:
            tell()

    @wraps(on_failure)
    def watched_failure(self: Any, exc_info: Any, *args: Any, **options: Any) -> Any:
        events: list[str] = []
        send_event = self.send_event

        def listen(event: str, **fields: Any) -> Any:
            events.append(event)
            return send_event(event, **fields)

        self.send_event = listen
        try:
            return on_failure(self, exc_info, *args, **options)
        finally:
            del self.send_event
            if FAILED in events and not _rejected(exc_info):
                count(self)

    @wraps(on_timeout)
    def watched_timeout(self: Any, soft: bool, timeout: float) -> Any:
        try:
            return on_timeout(self, soft, timeout)
        finally:
            if not soft:  # after a soft limit the task ends as it likes
                count(self)

    Request.on_failure, Request.on_timeout = watched_failure, watched_timeout


def _rejected(exc_info: Any) -> bool:
    """The task has refused its message, which Celery 5.7 tells as a failure too."""
    error = exc_info.exception
    return isinstance(error.exc if isinstance(error, ExceptionWithTraceback) else error, Reject)
