"""Workers, as they report themselves: a read costs two round trips, however many there are, and asks no worker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import redis

from opsdash.model import RunningTask, WorkerStats
from opsdash.services import frames
from opsdash.services.broker import Broker
from opsdash.text import as_text

if TYPE_CHECKING:
    import pandas as pd

MAX_FIGURE = 1e11
"""Above every figure a worker can have, and still a time that a calendar knows (the year 5138)."""
MAX_AGE_S = 1e9
"""Above every age a report can have, and still a time that a calendar knows."""
MOST_RUNNING = 20
"""Running tasks of one worker that are told: a worker sends no more."""
LARGE_REPORT = 64 * 1024
"""Bytes of a report of running tasks that is not looked into: a worker sends a few kB."""
LONG = 200
"""Characters of a task's id, name or queue that are shown."""
STALLED_AFTER_S = 15.0
"""An event loop that has not turned for so long stands still."""
SILENT_AFTER_S = 6.0
"""A worker reports every 2 s: silent this long, it has missed two reports, and a bit for a busy machine."""
OFFLINE_AFTER_S = 300.0
"""Silent this long, it is called offline. What it ran and held keeps a pause from being safe all the same."""
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
    "unacked",
    "remote_control",
    "clients",
)
"""Asked by name: half as many strings to read as with HGETALL, which is most of the time with 200 workers."""
# KEYS: list of workers, reports. ARGV: seconds of silence, the reports' names in the list. Returns those it removed.
_DISMISS = """
local now, gone = redis.call('TIME'), {}
for i = 2, #KEYS do
  local told = redis.pcall('HGET', KEYS[i], 'time')
  local at = type(told) == 'string' and tonumber(told) or 0
  if tonumber(now[1]) - at > tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[i])
    redis.pcall('ZREM', KEYS[1], ARGV[i])
    table.insert(gone, ARGV[i])
  end
end
return gone
"""
RUNNING = "running"
"""The field that is read for one worker only, and when somebody asks."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Reads the health that workers push."""

    broker: Broker

    def read(self) -> tuple[WorkerStats, ...]:
        """Every worker that reported within the last day, by name. Cost: one ZRANGE, one HMGET each, pipelined.

        How long ago a worker reported is told by Redis's clock alone; this machine's may be wrong.
        """
        keys, client = self.broker.keys, self.broker.client
        with self.broker.reading():
            with client.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.zrange(keys.workers, 0, -1, withscores=True)
                (seconds, micros), seen = pipe.execute()
            if not seen:
                return ()
            with client.pipeline(transaction=False) as pipe:
                for hostname, _ in seen:
                    pipe.hmget(keys.worker(hostname), FIELDS)
                hashes = [
                    {field: value for field, value in zip(FIELDS, values, strict=True) if value is not None}
                    if isinstance(values, list)
                    else {}  # something else's value: that worker's report is lost until it comes again, no other's
                    for values in pipe.execute(raise_on_error=False)
                ]
        now = seconds + micros / 1e6
        stats = [_stats(hostname, at, raw, now) for (hostname, at), raw in zip(seen, hashes, strict=True)]
        return tuple(sorted(stats, key=lambda worker: (worker.hostname, worker.record)))

    def running(self, hostname: str) -> tuple[RunningTask, ...]:
        """What one worker ran when it last reported, the longest-running first; 20 at most.

        How many more it runs is its ``active`` less these. None are known of a worker with an older opsdash, and of one
        nobody knows.

        Cost: two round trips and a few kB, so for one worker and when somebody asks.

        Raises:
            Unavailable: Redis did not answer.
        """
        client, key = self.broker.client, self.broker.keys.worker(hostname)
        with self.broker.reading():
            try:
                if not 0 < client.hstrlen(key, RUNNING) <= LARGE_REPORT:
                    return ()
            except redis.ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                return ()  # something else's value
            with client.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.hmget(key, ["time", RUNNING])
                (seconds, micros), (reported, text) = pipe.execute()
        now = seconds + micros / 1e6
        age_s = now - _number({"time": reported or ""}, "time", now)
        return _running(text or "[]", datetime.now(UTC) - timedelta(seconds=min(age_s, MAX_AGE_S)))

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
        return frames.of_workers(self.read())


def _stats(record: str, reported: float, raw: Mapping[str, str], now: float) -> WorkerStats:
    reported = _number(raw, "time", reported)
    tick_age_s, silent_s = reported - _number(raw, "loop_tick", reported), min(now - reported, MAX_AGE_S)
    if silent_s > OFFLINE_AFTER_S or not raw:
        state = "offline"
    elif silent_s > SILENT_AFTER_S:
        state = "silent"
    elif tick_age_s > STALLED_AFTER_S and raw.get("pool") != "solo":  # a busy solo worker has no turning loop to show
        state = "stalled"
    else:
        state = "online"
    memory, epoch = _number(raw, "memory_bytes", -1.0), _number(raw, "epoch", -1.0)
    oldest_s, load = _number(raw, "oldest_s", -1.0), _number(raw, "load", -1.0)
    return WorkerStats(
        hostname=_short(raw.get("hostname") or record.partition(NAMESAKE)[0]),
        record=record,
        instance=_short(raw.get("instance", "")),
        state=state,
        silent_s=round(silent_s, 1) if state in ("silent", "offline") else 0.0,
        heartbeat_at=datetime.now(UTC) - timedelta(seconds=silent_s),
        pid=int(_number(raw, "pid")),
        uptime_s=_number(raw, "uptime_s"),
        processed=int(_number(raw, "processed")),
        failed=int(_number(raw, "failed")),
        active=int(_number(raw, "active")),
        reserved=int(_number(raw, "reserved")),
        scheduled=int(_number(raw, "scheduled")),
        oldest_s=oldest_s if oldest_s >= 0 else None,
        concurrency=int(_number(raw, "concurrency")),
        pool=raw.get("pool", ""),
        load=load if load >= 0 else None,
        memory_bytes=int(memory) if memory >= 0 else None,
        queues=_names(raw, "queues"),
        paused=raw.get("paused") == "1",
        paused_queues=_names(raw, "paused_queues"),
        epoch=int(epoch) if epoch >= 0 else None,
        pausing=raw.get("pausing", "ready"),
        version=raw.get("version", ""),
        started=_counts(raw, "started"),
        running_by_queue=_counts(raw, "running_by_queue") if raw.get("running_by_queue") else None,
        unacked=int(_number(raw, "unacked")) if raw.get("unacked") else None,
        remote_control=raw["remote_control"] == "1" if raw.get("remote_control") else None,
        clients=_ids(raw, "clients"),
    )


def _running(text: str, reported_at: datetime) -> tuple[RunningTask, ...]:
    """A worker's report of what it runs: JSON ``[[id, name, queue, for how many seconds], …]``."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    told = [task for task in value if _is_task(task)] if isinstance(value, list) else []
    return tuple(
        RunningTask(
            task_id=_short(task_id), name=_short(name), queue=_short(queue), started_at=_before(reported_at, ran_s)
        )
        for task_id, name, queue, ran_s in told[:MOST_RUNNING]
    )


def _is_task(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(text, str) for text in value[:3])


def _short(text: str) -> str:
    return as_text(text if len(text) <= LONG else f"{text[: LONG - 1]}…")


def _before(reported_at: datetime, ran_s: Any) -> datetime | None:
    if not isinstance(ran_s, int | float) or not 0 <= ran_s <= MAX_AGE_S:
        return None
    return reported_at - timedelta(seconds=ran_s)


def _number(raw: Mapping[str, str], field: str, default: float = 0.0) -> float:
    # The hash is outside input: a worker of another version may leave a field out or write it otherwise.
    try:
        number = float(raw.get(field, default))
    except ValueError:
        return default
    return number if 0 <= number <= MAX_FIGURE else default  # NaN and infinities are neither


def _counts(raw: Mapping[str, str], field: str) -> dict[str, int]:
    try:
        value: Any = json.loads(raw.get(field, "{}"))
        return {str(name): int(number) for name, number in value.items() if 0 <= number <= MAX_FIGURE}
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}


def _ids(raw: Mapping[str, str], field: str) -> tuple[int, ...] | None:
    try:
        value: Any = json.loads(raw.get(field) or "null")
    except (ValueError, RecursionError):
        return None
    return tuple(number for number in value if type(number) is int) if isinstance(value, list) else None


def _names(raw: Mapping[str, str], field: str) -> tuple[str, ...]:
    try:
        value: Any = json.loads(raw.get(field, "[]"))
    except (ValueError, RecursionError):
        return ()
    return tuple(str(name) for name in value) if isinstance(value, list) else ()
