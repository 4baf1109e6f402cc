"""Requests that a worker holds and has not started: found, taken out of its hands, and let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from celery.worker import state as worker_state

Predicate = Callable[[Any], Any]
ENDS = ("on_success", "on_failure", "on_timeout")
"""What a pool calls when a task has ended."""
ON_END = "opsdash_on_end"


def forget(channel: Any, request: Any) -> None:
    """The request's message is no longer this worker's."""
    qos, message = channel.qos, request.message
    if message.delivery_tag in qos._delivered:
        qos._quick_ack(message.delivery_tag)
    # else it came over an earlier connection: kombu has restored it, or will when its visibility timeout ends
    request.acknowledged = True
    message._state = "REQUEUED"
    worker_state.task_ready(request)


def newest_first(channel: Any, requests: Iterable[Any]) -> list[Any]:
    """The order to put them back in, so that they come out again in the order they came."""
    order = {tag: index for index, tag in enumerate(list(channel.qos._delivered))}
    return sorted(requests, key=lambda request: order.get(request.message.delivery_tag, -1), reverse=True)


def take_waiting_for_a_process(consumer: Any, matches: Predicate) -> list[Any]:
    """Prefork: requests that wait for a free process. They leave the worker's line."""
    semaphore = getattr(consumer.controller, "semaphore", None)
    if semaphore is None:
        return []
    taken: list[Any] = []
    kept: list[Any] = []
    while semaphore._waiting:
        waiter = semaphore._waiting.popleft()
        request = waiter[1][0] if waiter[1] else None
        if hasattr(request, "message") and matches(request):
            taken.append(request)
        else:
            kept.append(waiter)
    semaphore._waiting.extend(kept)
    return taken


def take_unwritten(consumer: Any, matches: Predicate) -> list[Any]:
    """Prefork: jobs given to billiard and not written to a child yet; each has taken a slot of the semaphore."""
    pool = consumer.pool._pool
    taken: list[Any] = []
    for job in list(getattr(pool, "outbound_buffer", ())):
        request = getattr(getattr(job, "_accept_callback", None), "__self__", None)
        if request is not None and not job._accepted and matches(request):
            pool.outbound_buffer.remove(job)
            pool._cache.pop(job._job, None)
            taken.append(request)
    return taken


def release_slots(consumer: Any, number: int) -> None:
    """Prefork: gives back the slots of jobs that were taken from billiard."""
    for _ in range(number):
        consumer.controller.semaphore.release()


def unstarted(matches: Predicate) -> list[Any]:
    """Requests that were handed to the pool, and that are not known to have begun."""
    begun = set(worker_state.active_requests)
    return [request for request in tuple(worker_state.reserved_requests) if request not in begun and matches(request)]


def reserved() -> list[Any]:
    """Requests that were handed to the pool, those that run included."""
    return list(worker_state.reserved_requests)


def is_reserved(request: Any) -> bool:
    """It was handed to the pool, and has not ended or gone back."""
    return request in worker_state.reserved_requests


def watch_end(request: Any, on_end: Callable[[Any], None]) -> None:
    """Has ``on_end`` called when a request ends, in whatever thread. Of one whose process is lost it may not be.

    Celery makes a class of requests for each task: it is changed once.
    """
    setattr(request, ON_END, on_end)
    kind = type(request)
    if ON_END not in vars(kind):
        for name in ENDS:
            setattr(kind, name, _then(getattr(kind, name)))
        setattr(kind, ON_END, None)


def _then(ends: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(ends)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return ends(self, *args, **options)
        finally:
            on_end = getattr(self, ON_END)
            if on_end is not None and not is_reserved(self):
                on_end(self)

    return called


def take_rate_limited(consumer: Any, matches: Predicate) -> list[Any]:
    """Requests that wait for their rate limit."""
    taken: list[Any] = []
    for bucket in list(consumer.task_buckets.values()):
        if bucket and bucket.contents:
            limited = {request for request, _ in list(bucket.contents) if matches(request)}
            # Asking may have taken a round trip, in which a green loop went on. From here to the end it can't.
            items = list(bucket.contents)
            bucket.contents.clear()
            bucket.contents.extend(item for item in items if item[0] not in limited)
            taken.extend(request for request, _ in items if request in limited)
    return taken


def scheduled(consumer: Any) -> dict[Any, Any]:
    """Requests that wait for their time, with what holds them in the worker's timer."""
    found: dict[Any, Any] = {}
    for waiting in tuple(getattr(consumer.timer, "queue", ())):
        entry = getattr(waiting, "entry", None)
        if entry is not None and not entry.canceled and entry.args and hasattr(entry.args[0], "eta"):
            found[entry.args[0]] = waiting
    return found


def unschedule(consumer: Any, waiting: Any) -> None:
    """Takes a request out of the worker's timer, and the place it had beside the prefetch limit. Event loop only."""
    if hasattr(waiting, "kill"):  # green pools: a greenlet that sleeps
        waiting.kill()
    waiting.entry.cancel()
    consumer.qos.decrement_eventually()
