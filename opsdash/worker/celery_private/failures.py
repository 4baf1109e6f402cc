"""Tasks that end without success, seen where Celery meets them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakMethod

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Reject, TimeLimitExceeded
from celery.utils.log import get_logger
from celery.worker.request import Request

from opsdash.model.failure import EXPIRED, FAILED, REJECTED, REVOKED, TIME_LIMIT, UNREADABLE, UNREGISTERED
from opsdash.worker.failures.ended import Ended, raised

logger = get_logger(__name__)

HOOKS = ("on_failure", "on_timeout", "send_event")
"""What Celery calls when a task did not succeed. Without it pausing works, and failures are not counted."""
UNUSABLE = {
    "on_unknown_task": UNREGISTERED,
    "on_invalid_task": UNREADABLE,
    "on_unknown_message": UNREADABLE,
    "on_decode_error": UNREADABLE,
}
"""What Celery calls with a message that no task can be made of, and discards → what that is."""
ANNOUNCE = "_announce_revoked"
"""What Celery calls for a task that has expired, was revoked or terminated."""
FAILED_EVENT, REJECTED_EVENT = "task-failed", "task-rejected"
COUNTED = "opsdash_counted"
NOT_REGISTERED = "celery.exceptions.NotRegistered"
NO_TASK = "kombu.exceptions.DecodeError"

OnEnded = Callable[[Ended], None]
_callbacks: dict[str, WeakMethod[OnEnded]] = {}
"""A worker's hostname → what is called with its tasks' ends. Celery's class of requests is changed once per process,
though one process may build several workers, in turn or side by side, as Celery's own pytest fixtures do."""


def watch_failures(consumer: Any, on_ended: OnEnded) -> str:
    """Has ``on_ended`` called for each task of this worker that ends without success, in whatever thread it ends.

    A failure is a task-failed event of Celery, also while events are switched off, and a hard time
    limit; and a task that will never run: one that has rejected its message, and a message that Celery discards because
    its task is not registered or it can't be read. A task that is retried or ignored is none. One whose message goes
    back to its queue since its process is gone, and those that have expired or were revoked, are passed on as such.
    Cost: nothing for a task that succeeds, since Celery calls none of this then.

    Args:
        consumer: The newest worker of a hostname has its failures counted.
        on_ended: A bound method; it is forgotten with its object.

    Returns:
        The private names this Celery doesn't have; empty when it works.
    """
    lost = [f"Request.{name}" for name in HOOKS if not hasattr(Request, name)]
    lost += [f"Consumer.{name}" for name in UNUSABLE if not hasattr(consumer, name)]
    if lost:
        return ", ".join(lost)
    if not _callbacks:
        _watch_requests()
    _callbacks[consumer.hostname] = WeakMethod(on_ended)
    for name, kind in UNUSABLE.items():  # read at each start of the consumer, which comes later
        setattr(consumer, name, _watched(getattr(consumer, name), consumer.hostname, kind))
    return ""


def _watched(called: Callable[..., Any], hostname: str, kind: str) -> Callable[..., Any]:
    @wraps(called)
    def watched(*args: Any, **options: Any) -> Any:
        try:
            return called(*args, **options)
        finally:
            _tell(hostname, _unusable(kind, [*args, *options.values()]))

    return watched


def _unusable(kind: str, given: list[Any]) -> Ended:
    """Of Celery's hooks each is called with other arguments: a message is among them, and as a rule an error."""
    message = next(one for one in given if hasattr(one, "delivery_tag"))
    error = next((one for one in given if isinstance(one, BaseException)), None)
    if kind == UNREGISTERED:
        return Ended(kind=kind, message=message, name=NOT_REGISTERED)
    return Ended(kind=kind, message=message, error=error, name="" if error is not None else NO_TASK)


def _tell(hostname: str, ended: Ended) -> None:
    reference = _callbacks.get(hostname)
    if reference is not None and (on_ended := reference()) is not None:
        on_ended(ended)


def _watch_requests() -> None:
    """Changes Celery's class of requests. Once per process."""
    on_failure, on_timeout, announce = Request.on_failure, Request.on_timeout, getattr(Request, ANNOUNCE, None)

    def tell_once(request: Any, ended: Ended) -> None:
        # In prefork a time limit ends in both methods, in green pools in the second only.
        if getattr(request, COUNTED, False):
            return
        setattr(request, COUNTED, True)
        _tell(request.hostname, ended)

    @wraps(on_failure)
    def watched_failure(self: Any, exc_info: Any, *args: Any, **options: Any) -> Any:
        gone, events = self.acknowledged, _Events(self)
        try:
            return on_failure(self, exc_info, *args, **options)
        finally:
            failed, back = events.end(self)
            rejected = _rejected(exc_info)
            if rejected is None:
                if failed or back:
                    tell_once(self, raised(FAILED, self, exc_info, goes_back=back))
            # What is acknowledged before it starts does not go back, whatever its task asks for.
            elif gone or not rejected.requeue:
                tell_once(self, raised(REJECTED, self, exc_info))

    @wraps(on_timeout)
    def watched_timeout(self: Any, soft: bool, timeout: float) -> Any:
        if soft:  # the task ends as it likes
            return on_timeout(self, soft, timeout)
        events = _Events(self)
        try:
            return on_timeout(self, soft, timeout)
        finally:
            _, back = events.end(self)
            error = TimeLimitExceeded(timeout)
            back = back or not self.acknowledged
            tell_once(self, Ended(kind=TIME_LIMIT, message=self.message, request=self, error=error, goes_back=back))

    Request.on_failure, Request.on_timeout = watched_failure, watched_timeout
    if announce is None:
        logger.warning("opsdash: expired and revoked tasks are not counted; this Celery has no Request.%s", ANNOUNCE)
        return

    @wraps(announce)
    def watched_announce(self: Any, reason: str, terminated: bool, signum: Any, expired: bool) -> Any:
        try:
            return announce(self, reason, terminated, signum, expired)
        finally:
            kind = EXPIRED if expired else REVOKED
            tell_once(self, Ended(kind=kind, message=self.message, request=self, name=str(reason)))

    setattr(Request, ANNOUNCE, watched_announce)


class _Events:
    """Listens to what a request tells of its end."""

    def __init__(self, request: Any) -> None:
        self._failed = self._back = False
        self._send = request.send_event
        request.send_event = self._listen

    def _listen(self, event: str, **fields: Any) -> Any:
        self._failed = self._failed or event == FAILED_EVENT
        self._back = self._back or (event == REJECTED_EVENT and bool(fields.get("requeue")))
        return self._send(event, **fields)

    def end(self, request: Any) -> tuple[bool, bool]:
        """Stops listening. Whether it has failed, and whether its message goes back."""
        del request.send_event
        return self._failed, self._back


def _rejected(exc_info: Any) -> Reject | None:
    """How the task has rejected its message, if it did: before Celery 5.7 there is no failure event for that."""
    error = exc_info.exception
    error = error.exc if isinstance(error, ExceptionWithTraceback) else error
    return error if isinstance(error, Reject) else None
