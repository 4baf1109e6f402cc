"""``peek``, ``trash``, ``approvals``: messages of a queue, clears that can be restored, pending approvals."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from opsdash.cli.output import print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.operations.approve import described
from opsdash.services.queues.trash import time_left
from opsdash.text import format_duration, format_size

NO_TRASH = "The trash is empty: there are no cleared tasks to restore or delete."
UNREAD_TRASH = "The trash has no readable entries."


@click.command(cls=Command)
@json_option
def trash(*, as_json: bool) -> None:
    """Cleared tasks that can be restored: how many, by whom, for how long still."""
    with connected() as console:
        entries, unread = console.trash.look()
    for one in unread:
        warn(one.message)
    if as_json:
        print_json(entries)
        return
    print_table(
        ["Trash", "Queue", "Tasks", "Size", "Cleared by", "At (UTC)", "Undo ends in"],
        [
            (
                entry.id,
                entry.name,
                entry.count,
                format_size(entry.size_bytes) or "-",
                entry.by or "-",
                f"{entry.at:%Y-%m-%d %H:%M:%S}" if entry.at else "-",
                time_left(entry) if entry.state == "kept" else f"{entry.state}, not finished",
            )
            for entry in entries
        ],
        empty=UNREAD_TRASH if unread else NO_TRASH,
        gives_way=("Size", "At (UTC)", "Cleared by"),
        wraps=("Undo ends in",),
    )


@click.command(cls=Command)
@json_option
def approvals(*, as_json: bool) -> None:
    """What waits for a different operator's YES: opsdash approve ID does it."""
    with connected() as console:
        waiting, unread = console.pending_approvals.look()
    for one in unread:
        warn(one.message)
    if as_json:
        print_json(waiting)
        return
    now = datetime.now(UTC)
    print_table(
        ["Approval", "What", "Asked by", "At (UTC)", "Ends in"],
        [
            (
                one.id,
                described(one),
                one.by,
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                format_duration((one.expires_at - now).total_seconds()),
            )
            for one in waiting
        ],
        empty="There are no readable pending approvals." if unread else "There are no pending approvals.",
        gives_way=("At (UTC)", "Asked by"),
        wraps=("What",),
    )


@click.command(cls=Command)
@click.argument("queue")
@json_option
@click.option(
    "--limit", type=click.IntRange(1, 500), default=5, show_default=True, help="How many at each end of the queue."
)
def peek(*, queue: str, as_json: bool, limit: int) -> None:
    """The first and last tasks of a queue; arguments that look secret are hidden."""
    with connected() as console:
        console.queues.check(queue, console.queue_names())
        seen = console.queues.peek(queue, limit, console.settings.redact)
    if as_json:
        print_json(seen)
        return
    print_table(
        ["Position", "Task", "Id", "Priority", "Age", "ETA", "Retries", "Arguments"],
        [
            (
                message.position,
                message.unreadable or message.name or "-",
                message.id or "-",
                message.priority,
                "not known" if message.age_s is None else format_duration(message.age_s),
                f"{message.eta:%Y-%m-%d %H:%M:%S}" if message.eta else "-",
                message.retries,
                message.arguments,
            )
            for message in seen
        ],
        empty=f"Queue {queue} is empty.",
        gives_way=("Retries", "ETA", "Priority", "Age", "Arguments"),
        wraps=("Arguments",),
    )
