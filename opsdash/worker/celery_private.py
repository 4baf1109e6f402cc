"""Every private name of Celery, kombu and billiard that the plug-in leans on, in one place and behind one check.

Tried with Celery 5.4, 5.5, 5.6 and 5.7. When a name moves, ``missing`` says which; the worker then works as if opsdash
were not there, and its health says why it can't pause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from weakref import WeakMethod

import billiard
from billiard.einfo import ExceptionWithTraceback
from celery.bootsteps import CLOSE, TERMINATE
from celery.exceptions import Reject
from celery.worker import state as worker_state
from celery.worker.request import Request
from kombu.utils.eventio import READ

from opsdash.worker import origin

POOL_NAMES = {"thread": "threads"}
POLLER = ("_fd_to_chan", "poller", "on_readable", "handle_event")
"""What a green pool's loop is woken by. Without it pausing works, and takes up to 2 s to arrive."""
RING = "opsdash"
ENDINGS = ("on_failure", "on_timeout", "send_event")
"""What Celery calls when a task did not succeed. Without it pausing works, and failures are not counted."""
UNUSABLE = ("on_unknown_task", "on_invalid_task", "on_unknown_message", "on_decode_error")
"""What Celery calls with a message that no task can be made of; it throws the message away."""
FAILED = "task-failed"
COUNTED = "opsdash_counted"

Wanted = Callable[[Any], bool]


def pool_name(pool: Any) -> str:
    """``prefork``, ``threads``, ``solo``, ``gevent`` …: what one writes after ``celery worker -P``."""
    module = type(pool).__module__.rsplit(".", 1)[-1]
    return POOL_NAMES.get(module, module)


def is_green(pool: Any) -> bool:
    """Gevent or eventlet: one thread, and a loop that is no event loop."""
    return pool_name(pool) in ("gevent", "eventlet")


def missing(consumer: Any) -> str:
    """The private names this Celery doesn't have, as one readable text; empty when pausing can work."""
    channel = consumer.task_consumer.channel
    wanted: list[tuple[str, Any, tuple[str, ...]]] = [
        ("consumer", consumer, ("call_soon", "task_buckets", "on_task_request")),
        ("celery.worker.state", worker_state, ("task_ready", "reserved_requests", "active_requests")),
        ("channel", channel, ("_update_queue_cycle", "_queue_cycle", "active_queues")),
    ]
    pool, kind = consumer.pool, pool_name(consumer.pool)
    if kind == "prefork":
        semaphore = getattr(consumer.controller, "semaphore", None)
        wanted += guard_needs(pool._pool)
        if semaphore is not None:
            wanted.append(("semaphore", semaphore, ("_waiting", "release")))
    elif kind in ("threads", "solo", "gevent", "eventlet"):
        wanted.append(("pool", pool, ("on_apply",)))
    lost = [f"{label}.{name}" for label, owner, names in wanted for name in names if not hasattr(owner, name)]
    return ", ".join([*lost, *origin.missing(channel)])


def guard_needs(pool: Any) -> list[tuple[str, Any, tuple[str, ...]]]:
    """What the last look in prefork's children leans on."""
    from opsdash.worker import prefork_guard as guard  # it loads billiard, which only prefork workers have

    return [
        ("pool", pool, guard.POOL),
        ("pool.Worker", getattr(pool, "Worker", None), guard.WORKER),
        ("pool results", getattr(pool, "_result_handler", None), guard.RESULTS),
    ]


def guard(consumer: Any) -> Any:
    """Prefork: a ``PreforkGuard``, made before the pool forks; None for other pools and where there is no fork."""
    if pool_name(consumer.pool) != "prefork" or not hasattr(consumer.pool, "Pool"):
        return None
    from opsdash.worker.prefork_guard import PreforkGuard

    return PreforkGuard(consumer)


def replace_queue_cycle(channel: Any, fetchable: Callable[[list[str]], list[str]]) -> None:
    """Lets ``fetchable`` choose which queues this channel sends BRPOP for.

    The consumers' callbacks stay registered: the reply to a BRPOP that is under way (1 s at most) still arrives, at the
    execution gate.
    """

    def update() -> None:
        channel._queue_cycle.update(fetchable(list(channel.active_queues)))

    channel._update_queue_cycle = update


def update_queue_cycle(channel: Any) -> None:
    """Chooses the queues to fetch from anew. Event loop only."""
    channel._update_queue_cycle()


def is_fetching(channel: Any) -> bool:
    """A BRPOP is under way."""
    return bool(getattr(channel, "_in_poll", True))


def fetch_s(channel: Any) -> float:
    """How long a BRPOP may take to be answered."""
    return float(getattr(channel, "brpop_timeout", None) or 1) + 0.2


class _Bell:
    """Stands where kombu's poller keeps the channel that a readable socket belongs to."""

    def __init__(self, answer: Callable[[], None]) -> None:
        self.qos = self
        self.handlers = {RING: answer}

    def can_consume(self) -> bool:
        """Kombu asks the channel's QoS before it lets the channel read."""
        return True


def bell_in_green_loop(consumer: Any, reader: int, answer: Callable[[], None]) -> Callable[[bool], None]:
    """Lets a readable socket end the sleep of a green pool's loop, which then does what it was asked to do soon.

    Celery's ``synloop`` gives ``drain_events`` 2 s, and kombu waits in ``select`` as long as that for the reply to a
    BRPOP; while everything is paused there is none. Whatever else is readable in a turn of ``select`` is left for the
    next one, which comes at once. Every connection has a poller of its own.

    Args:
        reader: The socket's number; it must outlive the connection.
        answer: Called in the loop; it must read what made the socket readable.

    Returns:
        Has the loop's next sleep, and those after it, hear the bell, or no more. Hearing costs every message the
        watcher that gevent's ``select`` makes for each socket and call.

    Raises:
        LookupError: Names the private names this kombu doesn't have.
    """
    poller: Any = getattr(consumer.connection.transport, "cycle", None)
    lost = [f"transport.cycle.{name}" for name in POLLER if not hasattr(poller, name)]
    if lost:
        raise LookupError(", ".join(lost))
    poller._fd_to_chan[reader] = (_Bell(answer), RING)

    def hear(on: bool) -> None:
        if on:
            poller.poller.register(reader, READ)
        else:
            poller.poller.unregister(reader)

    return hear


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


def take_waiting_for_a_process(consumer: Any, wanted: Wanted) -> list[Any]:
    """Prefork: requests that wait for a free process. They leave the worker's line."""
    semaphore = getattr(consumer.controller, "semaphore", None)
    if semaphore is None:
        return []
    taken: list[Any] = []
    kept: list[Any] = []
    while semaphore._waiting:
        waiter = semaphore._waiting.popleft()
        request = waiter[1][0] if waiter[1] else None
        if hasattr(request, "message") and wanted(request):
            taken.append(request)
        else:
            kept.append(waiter)
    semaphore._waiting.extend(kept)
    return taken


def take_unwritten(consumer: Any, wanted: Wanted) -> list[Any]:
    """Prefork: jobs given to billiard and not written to a child yet; each has taken a slot of the semaphore."""
    pool = consumer.pool._pool
    taken: list[Any] = []
    for job in list(getattr(pool, "outbound_buffer", ())):
        request = getattr(getattr(job, "_accept_callback", None), "__self__", None)
        if request is not None and not job._accepted and wanted(request):
            pool.outbound_buffer.remove(job)
            pool._cache.pop(job._job, None)
            taken.append(request)
    return taken


def release_slots(consumer: Any, number: int) -> None:
    """Prefork: gives back the slots of jobs that were taken from billiard."""
    for _ in range(number):
        consumer.controller.semaphore.release()


def take_rate_limited(consumer: Any, wanted: Wanted) -> list[Any]:
    """Requests that wait for their rate limit."""
    taken: list[Any] = []
    for bucket in list(consumer.task_buckets.values()):
        if bucket and bucket.contents:
            held = {request for request, _ in list(bucket.contents) if wanted(request)}
            # Asking may have taken a round trip, in which a green loop went on. From here to the end it can't.
            items = list(bucket.contents)
            bucket.contents.clear()
            bucket.contents.extend(item for item in items if item[0] not in held)
            taken.extend(request for request, _ in items if request in held)
    return taken


def counts(consumer: Any) -> dict[str, int]:
    """How many messages this worker holds, by state. Lengths only: called beside the event loop."""
    active, reserved = len(worker_state.active_requests), len(worker_state.reserved_requests)
    limited = sum(len(bucket.contents) for bucket in list(consumer.task_buckets.values()) if bucket)
    return {
        "processed": worker_state.all_total_count[0],
        "active": active,
        # Celery keeps active requests among the reserved ones, and rate-limited ones nowhere.
        "reserved": max(0, reserved - active) + limited,
        "scheduled": _scheduled(consumer),
    }


def accounted(consumer: Any) -> int:
    """Entries of kombu's ``unacked`` hash that are this worker's. Lengths only: called beside the event loop."""
    qos = getattr(getattr(consumer.task_consumer, "channel", None), "qos", None)
    # What is acknowledged leaves the hash at once, and kombu's own note of it at the next turn.
    return max(0, len(getattr(qos, "_delivered", ())) - len(getattr(qos, "_dirty", ())))


def habits(consumer: Any) -> dict[str, str]:
    """Whether it answers remote control, and how many messages it takes in advance; all strings, ``1`` for yes."""
    conf, limit = consumer.app.conf, getattr(getattr(consumer, "qos", None), "value", 0)
    return {
        "remote_control": str(int(bool(conf.worker_enable_remote_control))),
        "prefetch": str(limit or 0),
        "disable_prefetch": str(int(bool(getattr(conf, "worker_disable_prefetch", False)))),
    }


def stopping(consumer: Any) -> bool:
    """The worker has been told to stop: its event loop has ended, or is about to."""
    if worker_state.should_stop not in (None, False) or worker_state.should_terminate not in (None, False):
        return True
    return consumer.blueprint.state in (CLOSE, TERMINATE)


def children_live() -> bool:
    """Prefork: a child of this process has not ended yet."""
    return any(child.is_alive() for child in billiard.active_children())


def active() -> list[Any]:
    """Requests that run, in no order. Safe beside the loop."""
    for _ in range(5):
        try:
            return list(worker_state.active_requests)
        except RuntimeError:  # the loop has added one meanwhile
            continue
    return []


def unstarted_by_queue(consumer: Any) -> dict[str, int]:
    """Queue → messages from it that wait for a process, a thread or their rate limit. In the event loop."""
    waiting = [request for request in worker_state.reserved_requests if request not in worker_state.active_requests]
    for bucket in consumer.task_buckets.values():
        waiting += [request for request, _ in bucket.contents] if bucket else []
    held = set(waiting).difference(scheduled(consumer))
    places = (origin.of(request.message) for request in held)
    return dict(Counter(place.queue for place in places if place is not None))


def _scheduled(consumer: Any) -> int:
    requests = getattr(worker_state, "scheduled_requests", None)  # since Celery 5.7
    return len(scheduled(consumer)) if requests is None else len(requests)


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


def running() -> list[Any]:
    """Requests that run, the longest-running first. Safe beside the loop."""
    return sorted((request for request in active() if request.time_start), key=lambda request: request.time_start)


_failure_tellers: dict[str, WeakMethod[Callable[[], None]]] = {}
"""A worker's hostname → what counts its failures. Celery's class of requests is changed once per process, though one
process may build several workers, one after the other or side by side, as Celery's own pytest fixtures do."""


def watch_failures(consumer: Any, tell: Callable[[], None]) -> str:
    """Has ``tell`` called for each task of this worker that ends in failure, in whatever thread it ends.

    A failure is what Celery has its event stream told as such, whether anybody wants events or not, and a hard time
    limit; and what will never run: a task that has rejected its message, and a message that Celery throws away because
    its task is not registered or it can't be read. A task that is retried, ignored or revoked is none; neither is one
    whose message goes back to its queue. Cost: nothing for a task that succeeds, since Celery calls none of this then.

    Args:
        consumer: The newest worker of a hostname has its failures counted.
        tell: A bound method; it is forgotten with its object.

    Returns:
        The private names this Celery doesn't have; empty when it works.
    """
    lost = [f"Request.{name}" for name in ENDINGS if not hasattr(Request, name)]
    lost += [f"Consumer.{name}" for name in UNUSABLE if not hasattr(consumer, name)]
    if lost:
        return ", ".join(lost)
    if not _failure_tellers:
        _watch_requests()
    _failure_tellers[consumer.hostname] = WeakMethod(tell)
    for name in UNUSABLE:  # read at each start of the consumer, which comes later
        setattr(consumer, name, _watched(getattr(consumer, name), consumer.hostname))
    return ""


def _watched(called: Callable[..., Any], hostname: str) -> Callable[..., Any]:
    @wraps(called)
    def watched(*args: Any, **options: Any) -> Any:
        try:
            return called(*args, **options)
        finally:
            _tell_failure(hostname)

    return watched


def _tell_failure(hostname: str) -> None:
    teller = _failure_tellers.get(hostname)
    if teller is not None and (tell := teller()) is not None:
        tell()


def _watch_requests() -> None:
    """Changes Celery's class of requests. Once per process."""
    on_failure, on_timeout = Request.on_failure, Request.on_timeout

    def count(request: Any) -> None:
        # In prefork a time limit ends in both methods, in green pools in the second only.
        if getattr(request, COUNTED, False):
            return
        setattr(request, COUNTED, True)
        _tell_failure(request.hostname)

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
    """How the task has refused its message, where it did: before Celery 5.7 that is told as no failure."""
    error = exc_info.exception
    error = error.exc if isinstance(error, ExceptionWithTraceback) else error
    return error if isinstance(error, Reject) else None


def consumed_queues(consumer: Any) -> list[str]:
    """The queues this worker takes tasks from, without broadcasts."""
    task_consumer = consumer.task_consumer
    if task_consumer is None:
        return []
    queues = list(task_consumer.queues)
    return [q.name for q in queues if q.exchange is None or q.exchange.type != "fanout"]
