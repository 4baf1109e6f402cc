"""Counting tasks that end in failure."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakMethod

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Reject
from celery.worker.request import Request

HOOKS = ("on_failure", "on_timeout", "send_event")
"""What Celery calls when a task did not succeed. Without it pausing works, and failures are not counted."""
UNUSABLE = ("on_unknown_task", "on_invalid_task", "on_unknown_message", "on_decode_error")
"""What Celery calls with a message that no task can be made of; it throws the message away."""
FAILED = "task-failed"
COUNTED = "opsdash_counted"

_failure_callbacks: dict[str, WeakMethod[Callable[[], None]]] = {}
"""A worker's hostname → what counts its failures. Celery's class of requests is changed once per process, though one
process may build several workers, one after the other or side by side, as Celery's own pytest fixtures do."""


def watch_failures(consumer: Any, on_failure: Callable[[], None]) -> str:
    """Has ``on_failure`` called for each task of this worker that ends in failure, in whatever thread it ends.

    A failure is a task-failed event of Celery, also while events are switched off, and a hard time
    limit; and a task that will never run: one that has rejected its message, and a message that Celery discards because
    its task is not registered or it can't be read. A task that is retried, ignored or revoked is none; neither is one
    whose message goes back to its queue. Cost: nothing for a task that succeeds, since Celery calls none of this then.

    Args:
        consumer: The newest worker of a hostname has its failures counted.
        on_failure: A bound method; it is forgotten with its object.

    Returns:
        The private names this Celery doesn't have; empty when it works.
    """
    lost = [f"Request.{name}" for name in HOOKS if not hasattr(Request, name)]
    lost += [f"Consumer.{name}" for name in UNUSABLE if not hasattr(consumer, name)]
    if lost:
        return ", ".join(lost)
    if not _failure_callbacks:
        _watch_requests()
    _failure_callbacks[consumer.hostname] = WeakMethod(on_failure)
    for name in UNUSABLE:  # read at each start of the consumer, which comes later
        setattr(consumer, name, _watched(getattr(consumer, name), consumer.hostname))
    return ""


def _watched(called: Callable[..., Any], hostname: str) -> Callable[..., Any]:
    @wraps(called)
    def watched(*args: Any, **options: Any) -> Any:
        try:
            return called(*args, **options)
        finally:
            _report_failure(hostname)

    return watched


def _report_failure(hostname: str) -> None:
    reference = _failure_callbacks.get(hostname)
    if reference is not None and (on_failure := reference()) is not None:
        on_failure()


def _watch_requests() -> None:
    """Changes Celery's class of requests. Once per process."""
    on_failure, on_timeout = Request.on_failure, Request.on_timeout

    def count(request: Any) -> None:
        # In prefork a time limit ends in both methods, in green pools in the second only.
        if getattr(request, COUNTED, False):
            return
        setattr(request, COUNTED, True)
        _report_failure(request.hostname)

    @wraps(on_failure)
    def watched_failure(self: Any, exc_info: Any, *args: Any, **options: Any) -> Any:
        events: list[str] = []
        send_event, gone = self.send_event, self.acknowledged

        def listen(event: str, **fields: Any) -> Any:
            events.append(event)
            return send_event(event, **fields)

        self.send_event = listen
        try:
            return on_failure(self, exc_info, *args, **options)
        finally:
            del self.send_event
            rejected = _rejected(exc_info)
            # What is acknowledged before it starts does not go back, whatever its task asks for.
            if FAILED in events if rejected is None else gone or not rejected.requeue:
                count(self)

    @wraps(on_timeout)
    def watched_timeout(self: Any, soft: bool, timeout: float) -> Any:
        try:
            return on_timeout(self, soft, timeout)
        finally:
            if not soft:  # after a soft limit the task ends as it likes
                count(self)

    Request.on_failure, Request.on_timeout = watched_failure, watched_timeout


def _rejected(exc_info: Any) -> Reject | None:
    """How the task has rejected its message, if it did: before Celery 5.7 there is no failure event for that."""
    error = exc_info.exception
    error = error.exc if isinstance(error, ExceptionWithTraceback) else error
    return error if isinstance(error, Reject) else None
