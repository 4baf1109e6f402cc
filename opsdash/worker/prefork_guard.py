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
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from celery.concurrency import asynpool
from celery.utils.log import get_logger

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

Address = tuple[str, str]
"""Exchange and routing key, as a message carries them."""


class Board:
    """A page of memory that the worker writes and its children read.

    Byte 0: something is paused. Byte 1: everything is. Then the paused queues' addresses, after their length in 4 bytes
    (a search of the whole page would take 25 µs): a child knows a message's exchange and routing key without asking
    Redis, and a queue added to a running worker needs no place agreed on before the fork. A child that reads while the
    worker writes may miss an address or see one too many: the worker looks at each job that comes back, and the step's
    other gates stand.
    """

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, SIZE)  # anonymous and shared

    def show(self, everything: bool, addresses: Iterable[Address]) -> None:
        """Tells the children what is paused. Any thread of the worker, one at a time."""
        text = b"".join({_line(*address) for address in addresses})[: SIZE - HEAD]
        self.memory[2 : HEAD + len(text)] = len(text).to_bytes(HEAD - 2, "big") + text
        self.memory[1] = everything
        self.memory[0] = everything or bool(text)

    def catches(self, job: Any) -> bool:
        """A job as a child receives it is paused. In the child; called only while something is paused."""
        memory = self.memory
        try:
            function, arguments = job[1][2], job[1][3]
            # (task name, id, request, body, content type, encoding): anything else is no task, but a pool's own errand
            address = arguments[2]["delivery_info"]
            line = _line(address.get("exchange"), address.get("routing_key"))
        except (LookupError, TypeError, AttributeError):
            return False
        if function is run_regardless:
            return False
        return bool(memory[1]) or line in memory[HEAD : HEAD + int.from_bytes(memory[2:HEAD], "big")]


def _line(exchange: str | None, routing_key: str | None) -> bytes:
    return f"\1{exchange or ''}\2{routing_key or ''}\3".encode()


def run_regardless(target: Callable[..., Any], *arguments: Any) -> Any:
    """Stands before a task that must run although its queue is paused."""
    return target(*arguments)


class GuardedWorker(asynpool.Worker):  # type: ignore[misc]  # Celery has no types
    """A child's main loop, which looks at the board before it accepts a job."""

    board: Board | None = None

    def _make_child_methods(self, *args: Any, **kwargs: Any) -> None:
        """In the child, before its first job."""
        super()._make_child_methods(*args, **kwargs)
        board = self.board
        if board is None:  # a fresh interpreter shares no memory
            return
        if not all(hasattr(self, name) for name in CHILD):
            logger.error("opsdash: a child can't look before it starts a task; this billiard lacks one of %s", CHILD)
            return
        receive, out, pipe = (getattr(self, name) for name in CHILD)
        say, memory = out.put, board.memory

        def wait_for_job() -> Any:
            job = receive()
            if job and memory[0] and board.catches(job):
                say((NOT_STARTED, (job[1][0], pipe)))
                return None
            return job

        self.wait_for_job = wait_for_job


class GuardedPool(asynpool.AsynPool):  # type: ignore[misc]  # Celery has no types
    """Celery's pool with guarded children, whenever and for whatever reason they are made."""

    Worker = GuardedWorker

    def __init__(self, *args: Any, board: Board, **kwargs: Any) -> None:
        self._board = board
        super().__init__(*args, **kwargs)

    def WorkerProcess(self, worker: Any) -> Any:  # noqa: N802 - billiard's name
        """Makes one child."""
        worker.board = self._board
        return super().WorkerProcess(worker)


class PreforkGuard:
    """The worker's side: shows the board, and takes back what children did not start.

    Must be made before the pool forks. Cost per task: one byte read in the child, nothing in the worker.
    """

    def __init__(self, consumer: Any) -> None:
        self.board = Board()
        self._pool = consumer.pool
        self._pool.Pool = partial(GuardedPool, board=self.board)

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

    @staticmethod
    def exempt(request: Any) -> None:
        """Lets the children start a request in spite of the board: its message can't be put back."""

        def execute_using_pool(pool: Any, **options: Any) -> Any:
            # The request's own method has a pool bound in; the one it overrides asks its argument.
            usual: Any = super(type(request), request)
            return usual.execute_using_pool(_Regardless(pool), **options)

        request.execute_using_pool = execute_using_pool


class _Regardless:
    """A pool, as far as a request needs one."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def apply_async(self, target: Callable[..., Any], args: Any = (), **options: Any) -> Any:
        return self._pool.apply_async(run_regardless, args=(target, *args), **options)
