"""Workers, as they report themselves: a read costs two round trips, however many there are, and asks no worker."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import RunningTask, WorkerStats, time_in_queue, untrusted
from opsdash.model.signatures import an_id, unsent_as_told
from opsdash.model.time_in_queue import TimeInQueue
from opsdash.model.untrusted import Unread
from opsdash.redaction import HIDDEN
from opsdash.services import dataframes
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.text import choices

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

REPORTS, HELD = "workers' reports", "messages that workers hold"
"""What may not be readable, and then leaves open whether a pause is safe."""
MOST_WORKERS = 5_000
"""Reports that are read, those that came last: 1,000 take about 50 ms of the processor, and 25 ms of Redis's."""
MAX_AGE_S = 1e9
"""Above every age a report can have, and still a time that a calendar knows."""
MOST_RUNNING, MOST_CHARS = 20, 400
"""Running tasks of one worker that are shown: a worker sends no more."""
LARGE_REPORT = 64 * 1024
"""Bytes of a report of running tasks that is not looked into: a worker sends a few kB."""
SHORT_TIMES = 2 * 1024
"""Characters of a report of times in queues that is remembered: that of a dozen queues."""
LARGE_WORDS = 4 * 1024
"""Characters of a name or sentence that a worker may send."""
SHORT, REMEMBERED = 200, 10_000
"""Characters of a field that is remembered as it was read, and how many are: most workers report the same, mostly."""
STALLED_AFTER_S = 15.0
"""An event loop that has not run for this long is blocked."""
SILENT_AFTER_S = 6.0
"""A worker reports every 2 s: silent this long, it has missed two reports, and a bit for a busy machine."""
OFFLINE_AFTER_S = 300.0
"""A worker that is silent this long is offline. Its last known tasks still keep a pause from being safe."""
NAMESAKE = " #"
"""Between hostname and instance, in the list of workers, of a process that another one of its name has pushed aside."""
FIELDS = (
    "time",
    "loop_tick",
    "pid",
    "uptime_s",
    "processed",
    "failed",
    "active",
    "reserved",
    "scheduled",
    "oldest_s",
    "concurrency",
    "pool",
    "load",
    "memory_bytes",
    "queues",
    "paused",
    "paused_queues",
    "epoch",
    "pausing",
    "version",
    "started",
    "hostname",
    "instance",
    "running_by_queue",
    "held_by_queue",
    "unacked",
    "remote_control",
    "clients",
    "draining",
    "build",
    "time_in_queue",
    "holding",
    "holds",
    "limited",
)
"""Asked by name: half as many strings to read as with HGETALL, which is most of the time with 200 workers."""
_DISMISS = lua.load(__name__, "reports_dismiss")
RUNNING, ARGUMENTS, WORKFLOW = "running", "running_arguments", "running_workflow"
"""Fields that are read for one worker only, on request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTimes:
    """How long the tasks were in their queues that one worker has started since it began.

    Attributes:
        process: Which start of which worker.
        uptime_s: How long it had run when it reported this. ``silent_s``: how long ago that was.
    """

    process: str
    uptime_s: float
    silent_s: float
    by_queue: Mapping[str, TimeInQueue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What workers report.

    Attributes:
        times: How long tasks were in their queues, of each worker that measures it.
        unread: Reports that were left out, and fields that can't be read.
    """

    workers: tuple[WorkerStats, ...] = ()
    times: tuple[ReportedTimes, ...] = ()
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class Workers:
    """Reads the health that workers push.

    Attributes:
        redact: Regular expression: arguments of a running task in which it finds something are hidden; empty: none.
    """

    broker: Broker
    redact: str = ""

    def read(self) -> tuple[WorkerStats, ...]:
        """Every worker that reported within the last day, by name; see `look`."""
        return self.look().workers

    def look(self) -> Reports:
        """Every worker that reported within the last day, by name; of more than ``MOST_WORKERS`` those that came last.

        The age of a report uses the clock of Redis only; this machine's clock may be wrong.

        Cost: two round trips; one HMGET for each report, within scripts that leave behind what is too large.
        """
        keys = self.broker.keys
        with self.broker.reading():
            with self.broker.client.pipeline(transaction=False) as pipe:
                pipe.time()
                bounded_reads.ask_members(pipe, keys.workers, most=MOST_WORKERS, high=bounded_reads.NOT_AHEAD)
                (seconds, micros), reply = pipe.execute()
            now, seen = seconds + micros / 1e6, bounded_reads.members(reply)
            reports = bounded_reads.fields(self.broker.client, [keys.worker(name) for name, _ in seen.found], FIELDS)
        stats = [_stats(name, at, raw, now) for (name, at), raw in zip(seen.found, reports, strict=True)]
        unread = seen.unread(REPORTS, keys.workers)
        if bad := [f"{worker.hostname} ({', '.join(worker.unread)})" for worker in stats if worker.unread]:
            unread.append(Unread(what=REPORTS, names=tuple(bad)))
        times = (_times_of(worker, raw.get("time_in_queue")) for worker, raw in zip(stats, reports, strict=True))
        return Reports(
            workers=tuple(sorted(stats, key=lambda worker: (worker.hostname, worker.record))),
            times=tuple(one for one in times if one is not None),
            unread=tuple(unread),
        )

    def running(self, hostname: str) -> tuple[RunningTask, ...]:
        """What one worker ran when it last reported, the longest-running first; 20 at most.

        How many more it runs is its ``active`` less these. None are known of a worker with an older opsdash, and of one
        nobody knows.

        Cost: two round trips and a few kB, so for one worker and on request.

        Raises:
            Unavailable: Redis did not answer.
        """
        client, key = self.broker.client, self.broker.keys.worker(hostname)
        with self.broker.reading():
            if not 0 < bounded_reads.one(client, 0, "HSTRLEN", key, RUNNING) <= LARGE_REPORT:
                return ()
            seconds, micros = client.time()
            (fields,) = bounded_reads.fields(
                self.broker.client, [key], ["time", RUNNING, ARGUMENTS, WORKFLOW], LARGE_REPORT
            )
        now = seconds + micros / 1e6
        reported = untrusted.figure(fields.get("time"))
        age_s = 0.0 if reported is None else now - reported
        reported_at = datetime.now(UTC) - timedelta(seconds=max(-MAX_AGE_S, min(age_s, MAX_AGE_S)))
        tasks = _running(fields.get(RUNNING), reported_at, self._arguments(fields.get(ARGUMENTS)))
        return _in_workflows(tasks, fields.get(WORKFLOW))

    def _arguments(self, text: str | None) -> list[str]:
        """As reported, in the order of the running tasks; none if the report can't be read."""
        value = untrusted.parsed(text)
        told = value[:MOST_RUNNING] if isinstance(value, list) else []
        shown = [untrusted.words(one[:MOST_CHARS]) if isinstance(one, str) else "" for one in told]
        return [HIDDEN if self.redact and re.search(self.redact, one) else one for one in shown]

    def dismiss(self, records: Sequence[str]) -> list[str]:
        """Takes workers that are silent off the list, by their names there; which of them were. Cost: one script.

        One that has reported meanwhile stays.
        """
        keys = self.broker.keys
        names = [keys.workers, *(keys.worker(record) for record in records)]
        gone: Any = self.broker.client.eval(_DISMISS, len(names), *names, str(SILENT_AFTER_S), *records)
        return [str(record) for record in gone]

    def to_frame(self) -> pd.DataFrame:
        """The workers as a typed pandas frame, read now."""
        return dataframes.of_workers(self.read())


def no_worker(hostname: str, known: Iterable[str]) -> Refused:
    """That there is none of this name, with the names that there are."""
    hint = f"Known workers: {choices(sorted(known), hostname)}."
    return Refused(f"There is no worker {hostname!r}.", hint=hint, field="hostname")


class _Report:
    """One worker's report, read field by field; notes which of them are there and can't be read."""

    def __init__(self, raw: Mapping[str, str | None]) -> None:
        self._raw = raw
        self.unread: list[str] = []

    def __call__(self, field: str, read: Callable[[Any], T | None]) -> T | None:
        """What a field says; None where it is missing, empty or another one's value."""
        if field not in self._raw:
            return None
        text = self._raw[field]
        if text == "":
            return None
        found = None if text is None else read(text)
        if found is None:
            self.unread.append(field)
        return found

    def count(self, field: str) -> int:
        """0 for what is none."""
        return self(field, _count) or 0


def _stats(record: str, listed_s: float, raw: Mapping[str, str | None], now: float) -> WorkerStats:
    report = _Report(raw)
    given_s = report("time", lambda text: untrusted.figure(text, now + bounded_reads.AHEAD_S))
    reported = (listed_s if math.isfinite(listed_s) else 0.0) if given_s is None else given_s
    tick = report("loop_tick", untrusted.figure)
    silent_s = max(-MAX_AGE_S, min(now - reported, MAX_AGE_S))
    pool = report("pool", _words) or ""
    if silent_s > OFFLINE_AFTER_S or not raw:
        state = "offline"
    elif silent_s > SILENT_AFTER_S:
        state = "silent"
    # A busy solo worker has no turning loop to show.
    elif tick is not None and reported - tick > STALLED_AFTER_S and pool != "solo":
        state = "stalled"
    else:
        state = "online"
    stats = WorkerStats(
        hostname=report("hostname", _words) or untrusted.words(record.partition(NAMESAKE)[0]),
        record=record,
        instance=report("instance", _words) or "",
        state=state,
        silent_s=round(silent_s, 1) if state in ("silent", "offline") else 0.0,
        heartbeat_at=datetime.now(UTC) - timedelta(seconds=silent_s),
        pid=report.count("pid"),
        uptime_s=report("uptime_s", untrusted.figure) or 0.0,
        processed=report.count("processed"),
        failed=report("failed", _count),
        active=report.count("active"),
        reserved=report.count("reserved"),
        scheduled=report.count("scheduled"),
        oldest_s=report("oldest_s", untrusted.figure),
        concurrency=report.count("concurrency"),
        pool=pool,
        load=report("load", untrusted.figure),
        memory_bytes=report("memory_bytes", _count),
        queues=report("queues", _names) or (),
        paused=report("paused", _words) == "1",
        paused_queues=report("paused_queues", _names) or (),
        epoch=report("epoch", _count),
        pausing=report("pausing", _words) or "ready",
        version=report("version", _words) or "",
        started=report("started", _counts) or {},
        running_by_queue=report("running_by_queue", _counts),
        held_by_queue=report("held_by_queue", _counts),
        unacked=report("unacked", _count),
        remote_control=None if (control := report("remote_control", _words)) is None else control == "1",
        clients=report("clients", _ids),
        draining=report("draining", _words) == "1",
        build=report("build", _words) or "",
        holding=report("holding", _words) or "",
        holds_applied=report("holds", _names) or (),
        limited=report("limited", _counts),
    )
    return replace(stats, unread=tuple(report.unread)) if report.unread else stats


def _times_of(worker: WorkerStats, text: str | None) -> ReportedTimes | None:
    if not text:
        return None
    return ReportedTimes(
        process=f"{worker.record} {worker.instance or worker.pid}",
        uptime_s=worker.uptime_s,
        silent_s=worker.silent_s,
        by_queue=_idle_times(text) if len(text) < SHORT_TIMES else time_in_queue.reported(text),
    )


@lru_cache(MOST_WORKERS)
def _idle_times(text: str) -> Mapping[str, TimeInQueue]:
    """Remembered, for idle workers report the same again and again."""
    return time_in_queue.reported(text)


def _running(text: str | None, reported_at: datetime, arguments: list[str]) -> tuple[RunningTask, ...]:
    """A worker's report of what it runs: JSON ``[[id, name, queue, for how many seconds], …]``."""
    value = untrusted.parsed(text)
    both = itertools.zip_longest(value, arguments, fillvalue="") if isinstance(value, list) else ()
    tasks = [(*task, told) for task, told in both if _is_task(task)]
    return tuple(
        RunningTask(
            task_id=untrusted.words(task_id),
            name=untrusted.words(name),
            queue=untrusted.words(queue),
            started_at=None
            if (s := untrusted.figure(ran_s, MAX_AGE_S)) is None
            else reported_at - timedelta(seconds=s),
            arguments=told,
        )
        for task_id, name, queue, ran_s, told in tasks[:MOST_RUNNING]
    )


def _in_workflows(tasks: tuple[RunningTask, ...], text: str | None) -> tuple[RunningTask, ...]:
    """With a worker's report of what they belong to; see ``opsdash/worker/running_workflows.py``."""
    told = untrusted.mapping(untrusted.parsed(text))
    return tuple(
        replace(
            task,
            root=an_id(about.get("root")),
            parent=an_id(about.get("parent")),
            group=an_id(about.get("group")),
            chord=about.get("chord") is True,
            unsent=unsent_as_told(about.get("unsent")),
            cut=about.get("cut") is True,
        )
        if (about := untrusted.mapping(told.get(task.task_id)))
        else task
        for task in tasks
    )


def _is_task(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(text, str) for text in value[:3])


def _remembered(read: Callable[[str], T]) -> Callable[[str], T]:
    """As ``read``, which makes something that nobody changes."""
    known = lru_cache(REMEMBERED)(read)
    return lambda text: known(text) if len(text) <= SHORT else read(text)


@_remembered
def _words(text: str) -> str | None:
    return untrusted.words(text) if len(text) <= LARGE_WORDS else None


def _count(text: str) -> int | None:
    # Workers write some counts as a figure.
    number = untrusted.figure(text)
    return None if number is None else int(number)


@_remembered
def _names(text: str) -> tuple[str, ...] | None:
    value = untrusted.parsed(text)
    found = untrusted.names(value)
    return found if isinstance(value, list) and len(found) == len(value) else found or None


@_remembered
def _counts(text: str) -> dict[str, int] | None:
    value = untrusted.parsed(text)
    return untrusted.counts(value) if isinstance(value, dict) else None


@_remembered
def _ids(text: str) -> tuple[int, ...] | None:
    value = untrusted.parsed(text)
    return tuple(number for number in value if type(number) is int) if isinstance(value, list) else None
