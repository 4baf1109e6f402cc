"""``status``, ``queues``, ``workers``: what a tired operator types first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

import opsdash
from opsdash.cli.output import json_option, print_json, print_line, print_table, warn
from opsdash.errors import Unavailable
from opsdash.model import PauseInfo, Snapshot, WorkerStats, count, format_duration, to_plain
from opsdash.services.drain import drain

if TYPE_CHECKING:
    from opsdash.services.console import Console  # takes most of a second: --help and demo do without

NO_WORKERS = "No active workers detected. Check Celery deployment."


@contextmanager
def connected() -> Iterator[Console]:
    """A console from the environment, closed afterwards."""
    console = opsdash.connect()
    try:
        yield console
    finally:
        console.close()


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """One screen: is processing paused, what waits, who works."""
    with connected() as console:
        console.fleet.look()
        snapshot = console.snapshot()
    if snapshot.redis_error:
        raise Unavailable(snapshot.redis_error)
    if as_json:
        print_json({"processing": _processing(snapshot), **to_plain(snapshot)})
        return
    print_line("Processing Status:", _processing(snapshot), _story(snapshot.pause))
    print_line(f"{console.settings.redis_label}, answered in {snapshot.redis_ms:.1f} ms")
    _print_queues(snapshot)
    active = [worker for worker in snapshot.workers if worker.state != "offline"]
    if active:
        running, reserved, scheduled = (sum(getattr(w, f) for w in active) for f in ("active", "reserved", "scheduled"))
        print_line(
            f"{count(len(active), 'worker')} online, {len(snapshot.workers) - len(active)} offline;"
            f" tasks: {running:,} running, {reserved:,} reserved, {scheduled:,} scheduled"
        )
        _print_pausing(snapshot, active)
    else:
        print_line(NO_WORKERS)
    for other in snapshot.others or ():
        what = f"takes tasks from {', '.join(other.queues)}" if other.queues else "takes no tasks now"
        warn(f"{other.hostname} is not held by opsdash: it runs without the plug-in, and {what}")
    if snapshot.tenant_drift and snapshot.tenant_drift.differs:
        warn(snapshot.tenant_drift.message)
    if snapshot.database_error:
        warn(snapshot.database_error)
    elif snapshot.operations:
        last = snapshot.operations[0]
        print_line(
            f"Last operation: {last.timestamp:%Y-%m-%d %H:%M:%S} UTC {last.user} {last.title}", last.status.value
        )


@click.command()
@json_option
def queues(*, as_json: bool) -> None:
    """Pending tasks of each queue, by priority."""
    with connected() as console:
        snapshot = console.snapshot()
    if snapshot.redis_error:
        raise Unavailable(snapshot.redis_error)
    if as_json:
        print_json(snapshot.queues)
    else:
        _print_queues(snapshot)


@click.command()
@json_option
def workers(*, as_json: bool) -> None:
    """Each worker: uptime, tasks processed, what it holds, and whether it has applied the pause."""
    with connected() as console:
        stats = console.get_worker_stats()
    if as_json:
        print_json([{**to_plain(worker), "uptime": worker.uptime} for worker in stats])
        return
    now = datetime.now(UTC)
    print_table(
        ["Worker", "State", "Uptime", "Processed", "Running", "Reserved", "Scheduled", "Pool", "Pause", "Heartbeat"],
        [
            (
                worker.hostname,
                worker.state,
                worker.uptime,
                worker.processed,
                worker.active,
                worker.reserved,
                worker.scheduled,
                f"{worker.pool} x {worker.concurrency}",
                _pause_applied(worker),
                f"{format_duration((now - worker.heartbeat_at).total_seconds())} ago",
            )
            for worker in stats
        ],
        empty=NO_WORKERS,
    )


def _processing(snapshot: Snapshot) -> str:
    return "PAUSED" if snapshot.pause else "RUNNING"


def _story(pause: PauseInfo | None) -> str:
    if pause is None:
        return ""
    parts = [
        f"by {pause.by}" if pause.by else "set outside opsdash",
        f"since {pause.at:%Y-%m-%d %H:%M:%S} UTC" if pause.at else "",
        f"until {pause.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pause.expires_at else "without an end",
        f"({pause.reason})" if pause.reason else "",
    ]
    return " ".join(part for part in parts if part)


def _print_queues(snapshot: Snapshot) -> None:
    print_table(
        ["Queue", "Pending Tasks", "Oldest", "By priority", "State"],
        [
            (
                queue.name,
                queue.waiting,
                "-" if queue.oldest_s is None else format_duration(queue.oldest_s),
                ", ".join(f"{step}: {n:,}" for step, n in sorted(queue.by_priority.items())) or "-",
                queue.error or ("paused" if queue.paused else "running"),
            )
            for queue in snapshot.queues
        ],
        empty="No queue is known.",
    )
    print_line(f"{snapshot.unacked:,} more held by workers (running, reserved or scheduled)")


def _print_pausing(snapshot: Snapshot, active: list[WorkerStats]) -> None:
    if stand := drain(snapshot):
        print_line(stand.message)
        return
    for queue in snapshot.paused_queues:
        if stand := drain(snapshot, queue):
            print_line(f"Queue {queue}: {stand.message}")
    for worker in active:
        if worker.pausing != "ready":
            warn(f"{worker.hostname} can't pause: {worker.pausing}")


def _pause_applied(worker: WorkerStats) -> str:
    if worker.pausing != "ready":
        return worker.pausing
    if worker.paused:
        return "paused"
    return f"paused: {', '.join(worker.paused_queues)}" if worker.paused_queues else "-"
