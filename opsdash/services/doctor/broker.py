"""Redis as a broker: is it there, does it forget, does opsdash read the lists that Celery writes."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import redis

from opsdash.errors import Unavailable
from opsdash.model import untrusted
from opsdash.model.key_layout import APP, ASSUMED, BROKER, SETTING, WORKERS
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.bounded_reads import LARGE_MESSAGE
from opsdash.services.doctor.finding import Examined, Findings, error, ok, warning
from opsdash.text import count, format_duration, format_size

OLDEST = (6, 2)
NEARLY_FULL = 0.9
KOMBU_TIMEOUT_S = 3_600
"""kombu's visibility timeout where nothing is said."""
LOOKED_AT = 2_000
"""Unacknowledged messages that are looked through for the longest ETA."""
MUCH_TRASH = 0.25
"""Share of Redis's memory."""
STEPS = range(10)
"""Priorities that Celery knows."""


def reachable(patient: Examined) -> Findings:
    """Broker: does it answer."""
    broker = patient.console.broker
    began = time.perf_counter()
    try:
        broker.ping()
    except Unavailable as failure:
        if not isinstance(failure.__cause__, redis.ResponseError):
            raise
        yield warning("broker", f"{broker.label} answers, and refuses PING.", "Put right first what is said below.")
    else:
        took_ms = (time.perf_counter() - began) * 1_000
        yield ok("broker", f"{broker.label} answers in {took_ms:.1f} ms.")


def version(patient: Examined) -> Findings:
    """Version: a server that knows the commands opsdash uses."""
    info = patient.info
    name = "Valkey" if info.get("server_name") == "valkey" or "valkey_version" in info else "Redis"
    number = str(info.get("valkey_version") or info.get("redis_version") or "")
    parts = tuple(map(int, re.findall(r"\d+", number)[:2]))
    if name == "Redis" and parts < OLDEST:
        yield error("version", f"{name} {number or 'of no known version'}.", "Use Redis 6.2 or later, or Valkey.")
    else:
        yield ok("version", f"{name} {number}.")


def memory(patient: Examined) -> Findings:
    """Memory: a server that evicts deletes tasks, pauses and trash without an error."""
    limit, used = int(patient.info.get("maxmemory", 0)), int(patient.info.get("used_memory", 0))
    policy = str(patient.info.get("maxmemory_policy", "not known"))
    size = f"{format_size(used)} used, maxmemory {format_size(limit) if limit else 'none'}, policy {policy}"
    todo = "Set maxmemory-policy noeviction."
    if policy != "noeviction" and limit:
        yield error("memory", f"{size}: when it is full, Redis deletes queues and pause flags.", todo)
    elif policy != "noeviction":
        yield warning("memory", f"{size}: with a maxmemory, Redis would delete queues and pause flags.", todo)
    elif limit and used > limit * NEARLY_FULL:
        yield warning("memory", f"{size}: nearly full; then producers get errors.", "Raise maxmemory.")
    else:
        yield ok("memory", f"{size}.")


def persistence(patient: Examined) -> Findings:
    """Persistence: what a restart of Redis would lose."""
    info = patient.info
    todo = "Set appendonly yes, with appendfsync everysec."
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        yield error("persistence", "The last write to the append-only file failed.", "Check Redis's disk and log.")
    elif info.get("aof_enabled"):
        yield ok("persistence", "Append-only file; a restart keeps what waits.")
    elif info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield error("persistence", "No append-only file, and the last snapshot failed.", "Check Redis's disk and log.")
    else:
        yield warning("persistence", "No append-only file: a crash of Redis loses tasks, pauses and trash.", todo)


def priorities(patient: Examined) -> Findings:
    """Priorities: does opsdash read the lists that producers write to."""
    broker, names = patient.console.broker, patient.console.queue_names()
    unknown = [step for step in STEPS if step not in broker.priority_steps]
    with broker.reading(), broker.client.pipeline(transaction=False) as pipe:
        for name in names:
            for step in unknown:
                pipe.exists(f"{broker.keys.prefix}{name}{broker.separator}{step}")
        replies = iter(pipe.execute(raise_on_error=False))
    missed = [f"{name} at {step}" for name in names for step in unknown if next(replies) == 1]
    steps = ", ".join(map(str, broker.priority_steps))
    if missed:
        todo = "Set OPSDASH_CELERY_APP, or OPSDASH_PRIORITY_STEPS and OPSDASH_SEPARATOR, as the application has them."
        yield error("priorities", f"Messages wait where opsdash does not look: {', '.join(missed[:5])}.", todo)
    elif broker.layout.source_of("priority_steps") == ASSUMED:
        todo = "Set OPSDASH_CELERY_APP=package.module:app, or OPSDASH_PRIORITY_STEPS."
        yield warning("priorities", f"No Celery app is named: queues {', '.join(names)}, steps {steps} assumed.", todo)
    else:
        yield ok("priorities", f"Steps {steps} of {count(len(names), 'queue')}.")


def layout(patient: Examined) -> Findings:
    """Layout: do app, settings and workers agree on how messages lie in Redis."""
    broker = patient.console.broker
    with broker.reading():
        found = broker.layouts.look()
    for conflict in found.conflicts:
        yield error("layout", f"{conflict.message} Until then pause and clear are refused.", f"Set {conflict.setting}.")
    if found.elsewhere and not patient.console.workers.read():
        text = "No worker reports into this database, and workers with the plug-in listen on this server."
        yield warning("layout", text, "Check the database in OPSDASH_REDIS_URL: it must be the app's.")
    source, prefix = found.layout.source_of("prefix"), found.layout.prefix
    if not found.conflicts and source == WORKERS and prefix:
        text = f"The key prefix {prefix!r} is known from the workers only: while none runs, no queue is found."
        yield warning("layout", text, f"Set OPSDASH_KEY_PREFIX={prefix} or OPSDASH_CELERY_APP.")
    if not found.layout.proven:
        text = "The separator is not known: workers can't be asked by remote control, a wrong one may stop them."
        yield warning("layout", text, "Set OPSDASH_CELERY_APP or OPSDASH_SEPARATOR.")
    elif not found.conflicts and not (source == WORKERS and prefix):
        names = {SETTING: "the settings", APP: "the app", WORKERS: "the workers", BROKER: "the bindings in Redis"}
        yield ok("layout", f"Separator {found.layout.separator!r} by {names[found.layout.source_of('separator')]}.")


def visibility(patient: Examined) -> Findings:
    """Visibility timeout: an ETA beyond it is delivered again, and runs twice."""
    options = patient.app.conf.broker_transport_options if patient.app is not None else None
    timeout_s = float((options or {}).get("visibility_timeout", KOMBU_TIMEOUT_S))
    text = f"{format_duration(timeout_s)}{'' if options is not None else ' (the default; no Celery app is named)'}"
    longest_s, looked_at, more = _longest_eta_s(patient)
    among = f"among {'the first ' if more else ''}{count(looked_at, 'message')} that workers hold"
    if longest_s is None:
        yield ok("visibility timeout", f"{text}; no ETA {among}.")
    elif longest_s > timeout_s:
        yield error(
            "visibility timeout",
            f"{text}, and a task {among} is due in {format_duration(longest_s)}: it is delivered again and runs twice.",
            f"Set broker_transport_options visibility_timeout above {longest_s:.0f} on workers and producers.",
        )
    else:
        yield ok("visibility timeout", f"{text}; the longest ETA {among} is {format_duration(longest_s)}.")


def trash(patient: Examined) -> Findings:
    """Trash: what cleared tasks take of Redis's memory."""
    entries = patient.console.trash.list()
    size = sum(entry.size_bytes or 0 for entry in entries)
    used = int(patient.info.get("used_memory", 0))
    tasks = count(sum(entry.count for entry in entries), "task")
    text = f"{tasks} of {count(len(entries), 'clear')} can be restored, about {format_size(size)}"
    if size > used * MUCH_TRASH and size > 10_000_000:
        todo = "opsdash delete-trash, or a shorter OPSDASH_UNDO_WINDOW_S."
        yield warning("trash", f"{text}, of {format_size(used)} that Redis uses.", todo)
    else:
        yield ok("trash", f"{text}.")


def flags(patient: Examined) -> Findings:
    """Pause flags: which there are, and who set them."""
    pauses = patient.console.pause.read(patient.console.queue_names())
    if not pauses:
        yield ok("pause flags", "Nothing is paused.")
    for queue, pause in pauses.items():
        what = "All processing" if queue is None else f"Queue {queue}"
        resume = "opsdash resume-processing" + ("" if queue is None else f" --queue {queue}")
        until = f"until {pause.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pause.expires_at else "without an end"
        if not pause.by:
            yield warning("pause flags", f"{what} is paused {until}, set outside opsdash, without a reason.", resume)
        elif not pause.expires_at:
            yield warning("pause flags", f"{what} is paused by {pause.by} {until}.", resume)
        else:
            why = f": {pause.reason}" if pause.reason else ""
            yield ok("pause flags", f"{what} is paused by {pause.by} {until}{why}.")


def _longest_eta_s(patient: Examined) -> tuple[float | None, int, bool]:
    """Seconds until the farthest ETA, how many messages were looked at, and whether there are more."""
    broker, now = patient.console.broker, datetime.now(UTC)
    longest: float | None = None
    looked_at, cursor = 0, 0
    with broker.reading():
        while looked_at < LOOKED_AT:
            try:
                cursor, found = bounded_reads.scan(broker.client, broker.unacked, cursor, 200, LARGE_MESSAGE)
            except redis.ResponseError:  # a foreign key of another type: not this check's business
                return None, 0, False
            looked_at += len(found)
            etas = [eta for raw in found if (eta := _eta(raw)) is not None]
            longest = max(
                [(eta - now).total_seconds() for eta in etas] + ([] if longest is None else [longest]), default=None
            )
            if cursor == 0:
                break
    return longest, looked_at, cursor != 0


def _eta(raw: str) -> datetime | None:
    # kombu keeps [message, exchange, routing key].
    entry = untrusted.parsed(raw, LARGE_MESSAGE)
    message = untrusted.mapping(entry[0] if isinstance(entry, list) and entry else None)
    return untrusted.moment(untrusted.mapping(message.get("headers")).get("eta"))


CHECKS = (version, memory, persistence, layout, priorities, visibility, trash, flags)
