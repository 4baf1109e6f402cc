"""Notes failed tasks where they fail, and has its own thread write them to Redis."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from typing import Any

import redis
from celery.utils.log import get_logger

from opsdash.model.failure import COUNTED
from opsdash.worker import message_origin
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error
from opsdash.worker.failures.batch import Count, Entry, Group, write
from opsdash.worker.failures.budget import YOUNG_S, Budget
from opsdash.worker.failures.ended import Ended, described, group_of
from opsdash.worker.failures.entry import Noted, entry_of, text_of
from opsdash.worker.failures.settings import FailureSettings

logger = get_logger(__name__)

GATHER_S = 0.25
"""How long failures gather before they are written together."""
STORM_GATHER_S = 1.0
"""The same while more fail than are kept: each writing takes the processor from the thread that runs the worker."""
AGAIN_S, LONGEST_AGAIN_S = 0.5, 10.0
"""How long to wait before a batch that Redis did not take is sent again, at first and at most."""
CLOSE_S = 3.0
"""How long the end of the worker waits for the last failures to be written."""
MOST_WAITING, MOST_WAITING_BYTES = 400, 16 * 1024 * 1024
"""Failures that wait to be written, as while Redis is away: what comes beyond is only counted."""
MOST_COUNTS = 1_000
"""Groups and queues that are counted by themselves meanwhile; further ones together."""
STEP, STEP_BYTES = 50, 2 * 1024 * 1024
"""Failures, or their bytes, of one script: Redis does nothing else meanwhile."""
STEP_COUNTS = 100
OTHERS = "(others)"
"""In place of a task's name in what is counted together."""

_Counts = dict[tuple[Group, str], Count]


class FailureKeeper:
    """One worker's failures on their way to Redis.

    Noting one costs some 40 µs in the thread where the task ended, and no round trip. The thread that writes begins
    with the first failure: a worker whose tasks succeed has none.

    Args:
        instance: Of the worker; what it writes is numbered under that.
    """

    def __init__(self, app: Any, hostname: str, instance: str, settings: FailureSettings) -> None:
        self._app, self._hostname, self._instance, self._settings = app, hostname, instance, settings
        self._lock = threading.Lock()
        self._budget = Budget()
        self._noted: list[Noted] = []
        self._noted_bytes = 0
        self._counts: _Counts = {}
        self._number = 0
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._failing = self._storm = False

    def note(self, ended: Ended) -> None:
        """Any thread in which a task ends; never fails."""
        try:
            self._note(ended)
        except Exception:  # what a fault of ours does to a note, it must not do to the worker
            logger.exception("opsdash: a failed task could not be noted")

    def close(self) -> None:
        """Has what is noted written, within ``CLOSE_S``. What fails afterwards has a new thread write it."""
        if os.getpid() != self._pid:  # a child of a fork: none of this is its own
            return
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._closing.set()
            self._wake.set()
            thread.join(CLOSE_S)
        atexit.unregister(self.close)

    def _note(self, ended: Ended) -> None:
        if ended.goes_back or not self._settings.most:
            return
        now, group = time.monotonic(), group_of(ended)
        place = message_origin.of(ended.message)
        queue = place.queue if place is not None else ""
        with self._lock:
            keep = ended.kind not in COUNTED and self._has_room() and self._budget.take(group)
        noted = Noted(described(ended), group, queue, now, text_of(ended.error)) if keep else None
        with self._lock:
            key = (group, queue)
            if key not in self._counts and len(self._counts) >= MOST_COUNTS:
                key = (Group(group.kind, OTHERS, "", ""), "")
            count = self._counts.setdefault(key, Count())
            count.times += 1
            count.last = now
            if noted is not None:
                self._noted.append(noted)
                self._noted_bytes += noted.size_bytes
            elif ended.kind not in COUNTED:
                count.not_kept += 1
            if self._thread is None or not self._thread.is_alive():
                self._begin()
        self._wake.set()

    def _has_room(self) -> bool:
        return len(self._noted) < MOST_WAITING and self._noted_bytes < MOST_WAITING_BYTES

    def _begin(self) -> None:
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name="opsdash-failures", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        link = Link(self._app)
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                self._closing.wait(STORM_GATHER_S if self._storm else GATHER_S)
                self._write_noted(link)
                if self._closing.is_set() and not self._wake.is_set():
                    return
        except Exception:  # the next failure begins a new thread
            logger.exception("opsdash: failed tasks could not be written")
        finally:
            link.close()

    def _write_noted(self, link: Link) -> None:
        with self._lock:
            noted, self._noted, self._noted_bytes = self._noted, [], 0
            counts, self._counts = self._counts, {}
        self._storm = any(count.not_kept for count in counts.values())
        entries: list[Entry] = []
        for one in noted:
            try:
                entry, text = entry_of(one, self._hostname, self._settings.redact)
            except Exception:  # one that can't be described must not keep the others from being written
                logger.exception("opsdash: a failed task could not be kept, and is counted")
                self._not_kept(counts, one)
                continue
            entries.append(entry)
            if (count := counts.get((one.group, one.queue))) is not None:
                count.text = text
        for step, part in _steps(entries, counts):
            self._write(link, step, part)

    def _write(self, link: Link, entries: list[Entry], counts: _Counts) -> None:
        """Sends one batch until Redis has taken it, or the worker ends."""
        self._number += 1
        again_s = AGAIN_S
        while True:
            now = time.monotonic()
            try:
                young_s = write(
                    link,
                    self._instance,
                    self._number,
                    counts,
                    entries,
                    worker=self._hostname,
                    now=now,
                    settings=self._settings,
                )
            except LINK_ERRORS as error:
                if not self._failing:
                    logger.error("opsdash: failed tasks can't be written, they wait: %s", describe_error(error))
                self._failing = True
                link.close()  # the next one asks again where Redis is
                if isinstance(error, redis.ResponseError):
                    again_s = LONGEST_AGAIN_S  # a full Redis, or a right that is missing
                if self._closing.wait(again_s):
                    logger.error("opsdash: %d failed tasks are not written: the worker ends", len(entries))
                    return
                again_s = min(2 * again_s, LONGEST_AGAIN_S)
                continue
            if self._failing:
                logger.warning("opsdash: failed tasks are written again")
            self._failing = False
            if young_s is not None and young_s < YOUNG_S:
                with self._lock:
                    self._budget.slow_down()
            return

    @staticmethod
    def _not_kept(counts: _Counts, noted: Noted) -> None:
        with contextlib.suppress(KeyError):  # counted among the others
            counts[noted.group, noted.queue].not_kept += 1


def _steps(entries: list[Entry], counts: _Counts) -> Any:
    """Pairs of what goes into one script each, counts first."""
    waiting, numbers = entries, list(counts.items())
    while waiting or numbers:
        step: list[Entry] = []
        size = 0
        while waiting and len(step) < STEP and size < STEP_BYTES:
            step.append(waiting[0])
            size += waiting[0].size_bytes
            waiting = waiting[1:]
        part, numbers = dict(numbers[:STEP_COUNTS]), numbers[STEP_COUNTS:]
        yield step, part
