"""Prefork: the last look, in the child that is about to accept a job.

A job that is in a child's pipe can't be recalled. So the child looks at a page of memory it shares with the worker just
before it tells that it accepts the job. When that is paused, it says "not started" instead, and the worker puts the
message back. Nothing was acknowledged by then, no time limit runs, and the job doesn't count for
``--max-tasks-per-child``.

Children are forked, so they have the page however late they are made. With the start method ``spawn`` they don't, and
there is no last look; everything else works.

Private names: those of ``CHILD``, ``POOL`` and ``RESULTS``; ``celery_private.missing`` asks for them.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from celery.concurrency import asynpool
from celery.utils.log import get_logger

from opsdash.worker import message_origin

logger = get_logger(__name__)

CHILD = ("wait_for_job", "outq", "inqW_fd")
"""What a child has once it is made; nobody but the child can see that."""
WORKER = ("_make_child_methods", "contribute_to_object")
POOL = ("_cache", "_putlock", "on_job_ready", "_result_handler", "outbound_buffer", "WorkerProcess")
RESULTS = ("state_handlers",)

NOT_STARTED = 0x0905
"""A child's message beside billiard's own (0 to 4) and Celery's ``WORKER_UP`` (15)."""
SIZE = 1 << 16
HEAD = 6

QUEUE = "opsdash_queue"
"""Argument of a job that names the queue its message came from. Taken out before the job is looked at further."""
REGARDLESS = "opsdash_regardless"


class SharedPause:
    """Two pages of memory that the worker writes and its children read.

    Byte 0: something is paused or called back. Byte 1: everything is paused. Then the paused queues' names, after their
    length in 4 bytes (a search of the whole page would take 25 µs): a queue added to a running worker needs no place
    agreed on before the fork. A child that reads while the worker writes may miss a name or see one too many: the
    worker looks at each job that comes back, and the step's other checks still apply. The second page has the ids of
    tasks that are called back, since a hold matches them: which do, a child can't tell.
    """

    def __init__(self) -> None:
        self.memory, self.called_back = mmap.mmap(-1, SIZE), mmap.mmap(-1, SIZE)  # anonymous and shared
        self._paused = self._called = False
        self._lock = threading.Lock()

    def show(self, everything: bool, queues: Iterable[str]) -> None:
        """Tells the children what is paused. Any thread of the worker."""
        with self._lock:
            self._paused = _write(self.memory, queues) or everything
            self.memory[1] = everything
            self.memory[0] = self._paused or self._called

    def call_back(self, task_ids: Iterable[str]) -> None:
        """Tells the children which tasks are not to start. Event loop only."""
        with self._lock:
            self._called = _write(self.called_back, task_ids)
            self.memory[0] = self._paused or self._called

    def catches(self, queue: str | None, job: Any = None) -> bool:
        """A job from this queue is paused, or called back. In the child; called only while something is.

        Args:
            queue: None for a broadcast, a pool's own errand and a task that must run although its queue is paused.
        """
        if queue is None:
            return False
        return bool(self.memory[1]) or _is_in(self.memory, queue) or _is_in(self.called_back, _id_of(job))


def _write(memory: mmap.mmap, names: Iterable[str]) -> bool:
    """Writes names after their length; whether there are any. Those that have no room are left out."""
    text = b"".join(_line(name) for name in names)[: SIZE - HEAD]
    memory[2 : HEAD + len(text)] = len(text).to_bytes(HEAD - 2, "big") + text
    return bool(text)


def _is_in(memory: mmap.mmap, name: str) -> bool:
    return _line(name) in memory[HEAD : HEAD + int.from_bytes(memory[2:HEAD], "big")]


def _id_of(job: Any) -> str:
    """The task's id in a job as a child receives it; empty where there is none."""
    try:
        return str(job[1][3][1])  # (TASK, (number, index, function, args, kwargs)); args: name, id, …
    except (LookupError, TypeError, AttributeError):
        return ""


def _line(queue: str) -> bytes:
    return f"\1{queue}\2".encode(errors="surrogateescape")


def take_queue(job: Any) -> str | None:
    """Takes the queue's name out of a job as a child receives it; None when it carries none."""
    try:
        queue: str | None = job[1][4].pop(QUEUE, None)  # (TASK, (number, index, function, args, kwargs))
    except (LookupError, TypeError, AttributeError):  # no task, but a pool's own errand
        return None
    return queue


class GuardedWorker(asynpool.Worker):  # type: ignore[misc]  # Celery has no types
    """A child's main loop, which reads the shared page before it accepts a job."""

    shared: SharedPause | None = None

    def _make_child_methods(self, *args: Any, **kwargs: Any) -> None:
        """In the child, before its first job."""
        super()._make_child_methods(*args, **kwargs)
        shared = self.shared  # None in a fresh interpreter, which shares no memory
        if not all(hasattr(self, name) for name in CHILD):
            logger.error("opsdash: a child can't check before it starts a task; this billiard lacks one of %s", CHILD)
            return
        receive, out, pipe = (getattr(self, name) for name in CHILD)
        send = out.put
        memory = b"\0" if shared is None else shared.memory

        def wait_for_job() -> Any:
            job = receive()
            if job:
                queue = take_queue(job)
                if memory[0] and shared is not None and shared.catches(queue, job):
                    send((NOT_STARTED, (job[1][0], pipe)))
                    return None
            return job

        self.wait_for_job = wait_for_job


class GuardedPool(asynpool.AsynPool):  # type: ignore[misc]  # Celery has no types
    """Celery's pool with guarded children, whenever and for whatever reason they are made."""

    Worker = GuardedWorker

    def __init__(self, *args: Any, shared: SharedPause, **kwargs: Any) -> None:
        self._shared = shared
        super().__init__(*args, **kwargs)

    def WorkerProcess(self, worker: Any) -> Any:  # noqa: N802 - billiard's name
        """Makes one child."""
        worker.shared = self._shared
        return super().WorkerProcess(worker)


class PreforkGuard:
    """The worker's side: writes the shared page, and takes back tasks that children did not start.

    Must be made before the pool forks. Cost per task: the queue's name in the job, about 1 µs in the worker, and one
    byte read in the child.
    """

    def __init__(self, consumer: Any) -> None:
        self.shared = SharedPause()
        self._pool = consumer.pool
        self._pool.Pool = partial(GuardedPool, shared=self.shared)

    def listen(self, take_back: Callable[[Any], None]) -> None:
        """Has children's "not started" answered; the pool must have started.

        Args:
            take_back: Puts a request's message back by way of the event loop. Not at once: this runs in the middle of
                the loop's reading, and while a worker shuts down.
        """
        pool = self._pool._pool

        def not_started(number: int, pipe: int) -> None:
            pool.on_job_ready(number, None, None, pipe)  # this child takes the next one
            job = pool._cache.pop(number, None)
            if job is None:
                return  # its connection was lost meanwhile: Celery has let go of the job, and its slot
            pool._putlock.release()
            take_back(job._accept_callback.__self__)

        pool._result_handler.state_handlers[NOT_STARTED] = not_started
        self._pool.on_apply = _naming_the_queue(self._pool.on_apply)

    def recall(self, requests: Iterable[Any]) -> None:
        """Has the children give back these requests, where they have not begun. Event loop only."""
        self.shared.call_back(request.id for request in requests)

    @staticmethod
    def exempt(request: Any) -> None:
        """Lets the children start a request in spite of the shared page: its message can't be put back."""
        setattr(request, REGARDLESS, True)


def _naming_the_queue(original: Callable[..., Any]) -> Callable[..., Any]:
    """Has a job say from which queue its message came: a child can't tell that from the message."""

    def on_apply(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        request = getattr(options.get("accept_callback"), "__self__", None)
        if request is not None and not getattr(request, REGARDLESS, False):
            place = message_origin.of(request.message)
            if place is not None:
                kwargs = {**kwargs, QUEUE: place.queue} if kwargs else {QUEUE: place.queue}
        return original(target, args, kwargs, **options)

    return on_apply
