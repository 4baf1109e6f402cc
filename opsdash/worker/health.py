"""What a worker reports about itself, and how it gets to Redis."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from celery.utils.log import get_logger

import opsdash
from opsdash.model.failure import COUNTED
from opsdash.model.untrusted import words
from opsdash.worker import celery_private, layout, message_origin
from opsdash.worker.connection import Link
from opsdash.worker.failures.ended import Ended
from opsdash.worker.gate import READY, Gate
from opsdash.worker.identity import identify
from opsdash.worker.rate_limits import RateLimits
from opsdash.worker.report import Reporter
from opsdash.worker.running_arguments import RunningArguments
from opsdash.worker.running_tenants import RunningTenants
from opsdash.worker.running_workflows import RunningWorkflows
from opsdash.worker.time_in_queue import QueueTimes

logger = get_logger(__name__)

MOST_TASKS, MOST_BYTES = 20, 8_000
"""Running tasks that one report tells of, and what they take of it at most."""
LONG = 120
"""Characters of a task's id, name and queue that are reported: the sender of a task chooses them."""


class Health:
    """One worker's figures. Safe to use beside the event loop: it reads lengths and counters only.

    Times go out by Redis's clock, so that neither a wrong clock nor one that jumps on this machine hides a worker.

    Attributes:
        on_ended: Is called with each task that ends without success, in the thread where it ends.
        rates: The rate limits that it follows.
        limited: Tells id of a concurrency limit → tasks of it that run here.
    """

    def __init__(self, consumer: Any, gate: Gate) -> None:
        self.on_ended: Callable[[Ended], None] | None = None
        self.rates: RateLimits | None = None
        self.limited: Callable[[], dict[str, int]] = dict
        self._consumer = consumer
        self._gate = gate
        self._ticked = self._started = time.monotonic()
        self.identity = identify()
        self.build = build()
        self._arguments, self._workflows, self._tenants = RunningArguments(), RunningWorkflows(), RunningTenants()
        self._reporter = Reporter(consumer.hostname, self.identity)
        self._failed, self._counting = 0, threading.Lock()
        self._uncounted = celery_private.watch_failures(consumer, self.heed)
        self._times = QueueTimes()
        gate.follow = self._times.follow
        threads = celery_private.pool_name(consumer.pool) == "threads"
        note = self._times.note_in_turn if threads else self._times.note
        if lost := celery_private.watch_starts(consumer.hostname, note):
            logger.error("opsdash: times in queue are not measured; this version of Celery has no %s", lost)
        if self._uncounted:
            logger.error("opsdash: failed tasks are not counted; this version of Celery has no %s", self._uncounted)

    def tick(self) -> None:
        """The event loop turns. Called inside it."""
        self._ticked = time.monotonic()

    @property
    def tick_age_s(self) -> float:
        """For how long the event loop has not been seen to turn."""
        return time.monotonic() - self._ticked

    def heed(self, ended: Ended) -> None:
        """A task has ended without success. Any thread."""
        if not ended.goes_back and ended.kind not in COUNTED:
            with self._counting:  # pools of threads end tasks in several at once
                self._failed += 1
        if self.on_ended is not None:
            self.on_ended(ended)

    def busy(self) -> bool:
        """A task runs, or one that was fetched has not gone back yet."""
        numbers = celery_private.counts(self._consumer)
        return bool(numbers["active"] or numbers["reserved"])

    def may_leave(self) -> bool:
        """Nothing of this worker runs any more, now that its pool has been stopped.

        A cold shutdown ends prefork's children and stops the task of the solo pool; threads and greenlets run on
        until the process ends.
        """
        if celery_private.pool_name(self._consumer.pool) in ("threads", "gevent", "eventlet"):
            return not celery_private.counts(self._consumer)["active"]
        return not celery_private.children_live()

    def _figures(self, now: float) -> dict[str, str]:
        """The fields of the worker's hash, all strings. Args: ``now`` is Redis's time."""
        consumer, applied = self._consumer, self._gate.applied
        queues = celery_private.consumed_queues(consumer)
        pausing, running = self._gate.health(), celery_private.running()
        ahead_s = now - time.monotonic()
        return {
            "hostname": self._reporter.hostname,
            **self.identity.fields(),
            "time": f"{now:.3f}",
            "clock": f"{time.time():.3f}",  # this machine's own, beside Redis's: the doctor compares them
            "loop_tick": f"{self._ticked + ahead_s:.3f}",
            "uptime_s": f"{time.monotonic() - self._started:.1f}",
            **{name: str(number) for name, number in celery_private.counts(consumer).items()},
            "failed": "" if self._uncounted else str(self._failed),
            "oldest_s": age(running[0].time_start) if running else "",
            "running": running_json(running),
            "running_arguments": self._arguments.as_json(running),
            "running_workflow": self._workflows.as_json(running),
            "running_tenants": self._tenants.as_json(running),
            "running_by_queue": json.dumps(self._running_by_queue()),
            "held_by_queue": ""
            if (reserved := celery_private.held_by_queue(consumer)) is None
            else json.dumps(reserved),
            "unacked": str(celery_private.accounted(consumer)),
            **celery_private.fetch_settings(consumer),
            "clients": self._clients(),
            "concurrency": str(consumer.pool.num_processes or 0),
            "pool": celery_private.pool_name(consumer.pool),
            "load": load(),
            "memory_bytes": memory_bytes(consumer.pool),
            "queues": json.dumps(queues),
            "paused": "1" if applied.everything else "0",
            "paused_queues": json.dumps(sorted(applied.queues)),
            "epoch": str(applied.epoch) if applied.epoch is not None and pausing == READY else "",
            "pausing": pausing,
            "holding": self._gate.holding(),
            "holds": json.dumps(applied.rules.ids),
            "started": json.dumps(self._gate.started_by_queue(queues)),
            "time_in_queue": self._times.as_json(queues),
            "draining": "1" if applied.draining or celery_private.stopping(consumer) else "0",
            "version": opsdash.__version__,
            "build": self.build,
            "rate_limits": "" if self.rates is None or not self.rates.follows else json.dumps(self.rates.applied),
            "limited": json.dumps(self.limited()),
            **layout.describe(consumer),
        }

    def _running_by_queue(self) -> dict[str, int]:
        """Queue → tasks of it that run; the empty name for those of an unknown queue."""
        places = (message_origin.of(request.message) for request in celery_private.active())
        return dict(Counter(place.queue if place is not None else "" for place in places))

    def _clients(self) -> str:
        """Redis's ids of the connections that it fetches with, as JSON; empty while not known."""
        ids = self._gate.fetching_clients
        return "" if ids is None else json.dumps(ids)

    def push(self, link: Link) -> None:
        """Writes the figures. Cost: one round trip; the first time two.

        Raises:
            LINK_ERRORS: Redis doesn't take them.
        """
        now = self._reporter.now(link)
        self._times.set_clock(now - time.time())
        self._reporter.push(link, self._figures(now))

    def remove(self, link: Link) -> None:
        """Takes the worker off the list: it ends on purpose.

        Raises:
            LINK_ERRORS: Redis doesn't answer; the report stays.
        """
        self._reporter.goodbye(link)


def build() -> str:
    """``OPSDASH_BUILD``: which build this worker runs, such as its image's tag."""
    return words(os.environ.get("OPSDASH_BUILD", "").strip(), LONG)


def age(since: float) -> str:
    """Seconds since then by the wall clock, not below 0."""
    return f"{max(0.0, time.time() - since):.1f}"


def running_json(requests: Iterable[Any]) -> str:
    """The first of these requests as JSON: ``[[id, name, queue, for how many seconds it runs], …]``."""
    tasks: list[str] = []
    size = 2
    for request in islice(requests, MOST_TASKS):
        place = message_origin.of(request.message)
        queue = place.queue if place is not None else request.message.delivery_info.get("routing_key") or ""
        words = (request.id, request.name, queue)
        ran_s = round(max(0.0, time.time() - request.time_start), 1)
        task = json.dumps([*(str(word)[:LONG] for word in words), ran_s], separators=(",", ":"))  # ASCII: one byte each
        size += len(task) + 1
        if size > MOST_BYTES:
            break
        tasks.append(task)
    return f"[{','.join(tasks)}]"


def load() -> str:
    """The machine's one-minute load average; empty where the system doesn't say."""
    try:
        return f"{os.getloadavg()[0]:.2f}"
    except (OSError, AttributeError):
        return ""


def memory_bytes(pool: Any) -> str:
    """Resident memory of this process and the pool's children; empty where the system doesn't say.

    Pages that parent and children share count once for each.
    """
    try:
        pids = {os.getpid(), *pool.info.get("processes", ())}
        return str(sum(_resident_bytes(pid) for pid in pids))
    except (OSError, ValueError, IndexError, AttributeError):
        return ""


def _resident_bytes(pid: int) -> int:
    """Resident memory of one process; 0 when it has just ended."""
    try:
        # The second field of statm is the resident set in pages (proc(5)): VmRSS without parsing a page of text.
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        if pid == os.getpid():
            raise
        return 0
