"""``status``, ``queues``, ``workers``: what a tired operator types first."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.text import Text

import opsdash
from opsdash.cli.commands import importing
from opsdash.cli.output import line, print_line, print_table, screen
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.strict import Command
from opsdash.cli.summary import NO_WORKERS, in_workers, pace_lines, processing, queue_table, summarize
from opsdash.errors import OpsdashError, Unavailable
from opsdash.model import FailureOverview, RunningTask, WorkerStats, to_plain
from opsdash.services.pause.verdict import verdicts
from opsdash.services.pause.verdict_text import describe_builds
from opsdash.text import count, format_duration

if TYPE_CHECKING:
    from opsdash.services.console import Console  # takes some tenths of a second: --help and demo do without

DEFAULT_WATCH_S = "2"


@contextmanager
def connected() -> Iterator[Console]:
    """A console from the environment, closed afterwards."""
    with importing():
        console = opsdash.connect()
    try:
        yield console
    finally:
        console.close()


@click.command(cls=Command)
@json_option
@click.option(
    "--watch",
    "every_s",
    is_flag=False,
    flag_value=DEFAULT_WATCH_S,
    type=click.FloatRange(0.5, 3_600),
    metavar="[SECONDS]",
    help="Refresh every 2 seconds, or every N, on a terminal; Ctrl-C ends it.",
)
def status(*, as_json: bool, every_s: float | None) -> None:
    """One screen: pause, queues, workers, and what needs attention."""
    if every_s is not None:
        if as_json:
            raise click.UsageError("--watch and --json exclude each other: for programs, call status --json again")
        if not sys.stdout.isatty() or screen().is_dumb_terminal:
            raise click.UsageError("--watch needs a terminal: call status again instead")
    with connected() as console:
        if every_s is not None:
            console.unmanaged.look()
            _watch(console, every_s)
            return
        console.broker.ping()  # an outage is reported once, not for each read
        console.unmanaged.look()
        snapshot, failed = console.snapshot(brief=True), _failed(console)
    if snapshot.redis_error:
        raise Unavailable(snapshot.redis_error)
    if as_json:
        print_json({"processing": processing(snapshot), **verdicts(snapshot), **to_plain(snapshot)})
        return
    summary = summarize(snapshot, console.settings.redis_label, console.broker.identity, failed)
    for shown in summary.shown:
        screen().print(shown, soft_wrap=isinstance(shown, Text))
    for warning in summary.warnings:
        warn(warning)


def _failed(console: Console) -> FailureOverview | None:
    """The failed tasks that are kept; None where they can't be read: the snapshot says why."""
    try:
        return console.failed.overview()
    except OpsdashError:
        return None


def _watch(console: Console, every_s: float) -> None:
    """Draws on the terminal's other screen; the last picture stays on its own."""
    from rich.live import Live

    picture: Group | None = None
    try:
        with Live(console=screen(), screen=True, auto_refresh=False) as live:
            while True:
                picture = _picture(console, every_s)
                live.update(picture, refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        if picture is not None:
            screen().print(picture)


def _picture(console: Console, every_s: float) -> Group:
    snapshot = console.snapshot()
    summary = summarize(snapshot, console.settings.redis_label, console.broker.identity, _failed(console))
    name = f"{console.settings.environment} · " if console.settings.environment else ""
    head = line(f"{name}{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC, every {every_s:g} s; Ctrl-C ends")
    return Group(head, *(line(f"! {warning}") for warning in summary.warnings), *summary.shown)


@click.command(cls=Command)
@json_option
def queues(*, as_json: bool) -> None:
    """Pending tasks of each queue, by priority."""
    with connected() as console:
        snapshot = console.snapshot(brief=True)
        if any(queue.consumed is None for queue in snapshot.queues):
            console.unmanaged.look()  # unmanaged workers may take from it
            snapshot = console.snapshot(brief=True)
    if snapshot.redis_error:
        raise Unavailable(snapshot.redis_error)
    for conflict in snapshot.layout_conflicts:
        warn(conflict.message)
    if as_json:
        print_json(snapshot.queues)
    else:
        screen().print(queue_table(snapshot.queues))
        screen().print(in_workers(snapshot))
        for shown in pace_lines(snapshot.queues):
            screen().print(shown)


@click.command(cls=Command)
@click.argument("hostname", required=False)
@json_option
def workers(*, hostname: str | None, as_json: bool) -> None:
    """Each worker: uptime, tasks processed and failed, what it holds, and whether it has applied the pause.

    HOSTNAME: Only this worker, and what it runs right now.
    """
    running: tuple[RunningTask, ...] = ()
    with connected() as console:
        stats = known = console.get_worker_stats()
        if hostname is not None:
            stats = tuple(worker for worker in known if worker.hostname == hostname)
            if not stats:
                from opsdash.services.workers.reports import no_worker

                raise no_worker(hostname, {worker.hostname for worker in known})
            running = console.workers.running(hostname)
    rows = [
        {**to_plain(worker), "uptime": worker.uptime, "drained": worker.drained, "condition": worker.condition}
        for worker in stats
    ]
    one = hostname is not None
    more = max(0, stats[0].active - len(running)) if one else 0
    if as_json:
        print_json({"worker": rows[0], "running": running, "more": more} if one else rows)
        return
    _print_workers(stats)
    if text := describe_builds(stats):
        print_line(text)
    if one:
        _print_running(stats[0].hostname, running, more)


def _print_workers(stats: tuple[WorkerStats, ...]) -> None:
    now = datetime.now(UTC)
    print_table(
        [
            *("Worker", "State", "Uptime", "Processed", "Failed", "Running", "Reserved", "Scheduled", "Pool", "Load"),
            *("Pause", "Heartbeat"),
        ],
        [
            (
                worker.hostname,
                _state(worker),
                worker.uptime,
                worker.processed,
                "-" if worker.failed is None else worker.failed,
                worker.active,
                worker.reserved,
                worker.scheduled,
                f"{worker.pool} x {worker.concurrency}",
                "-" if worker.load is None else f"{worker.load:.2f}",
                _pause_applied(worker),
                f"{format_duration((now - worker.heartbeat_at).total_seconds())} ago",
            )
            for worker in stats
        ],
        empty=NO_WORKERS,
        gives_way=("Load", "Pool", "Uptime", "Heartbeat", "Scheduled", "Processed", "Failed", "Reserved", "Running"),
        wraps=("State", "Pause"),
    )


def _state(worker: WorkerStats) -> str:
    if worker.state == "silent":
        return f"silent for {format_duration(worker.silent_s)}"
    return "quiet: takes no tasks" if worker.condition == "quiet" else worker.condition


def _print_running(hostname: str, running: tuple[RunningTask, ...], more: int) -> None:
    now = datetime.now(UTC)
    silent = f"runs {count(more, 'task')}, and does not report which" if more else "runs nothing"
    print_table(
        ["Task", "Id", "Queue", "Since (UTC)", "For", "Arguments"],
        [
            (
                task.name,
                task.task_id,
                task.queue or "-",
                f"{task.started_at:%Y-%m-%d %H:%M:%S}" if task.started_at else "-",
                format_duration((now - task.started_at).total_seconds()) if task.started_at else "not known",
                task.arguments or "not known",
            )
            for task in running
        ],
        empty=f"{hostname} {silent}.",
        gives_way=("Since (UTC)", "Queue"),
    )
    if running and more:
        print_line(f"and {count(more, 'more task')}")


def _pause_applied(worker: WorkerStats) -> str:
    if worker.pausing != "ready":
        return worker.pausing
    if worker.draining:
        return "drained" if worker.drained else "draining"
    if worker.paused:
        return "paused"
    return f"paused: {', '.join(worker.paused_queues)}" if worker.paused_queues else "-"
