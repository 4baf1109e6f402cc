"""``holds``: which tasks are held, how many of each, and until when."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from opsdash.cli.output import print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.errors import Unavailable
from opsdash.model import HeldTasks
from opsdash.text import format_duration

NOTHING = "Nothing is held."


@click.command(cls=Command)
@json_option
def holds(*, as_json: bool) -> None:
    """Tasks that are held: how many, since when, by whom, and until when."""
    with connected() as console:
        console.unmanaged.look()
        snapshot = console.snapshot()
    if snapshot.redis_error:
        raise Unavailable(snapshot.redis_error)
    if as_json:
        print_json(snapshot.holds)
        return
    now = datetime.now(UTC)
    print_table(
        ["Held", "Queue", "Tasks", "Oldest", "Ends in", "By", "Reason", "Workers"],
        [_row(one, now) for one in snapshot.holds],
        empty=NOTHING,
        gives_way=("Reason", "By", "Queue"),
        wraps=("Held", "Reason"),
    )
    for one in snapshot.holds:
        if one.without:
            warn(f"{one.hold}: {', '.join(one.without[:5])} can't hold tasks, and run them.")


def _row(one: HeldTasks, now: datetime) -> tuple[str | int, ...]:
    hold = one.hold
    ends = "-" if hold.expires_at is None else format_duration(max(0.0, (hold.expires_at - now).total_seconds()))
    return (
        hold.name if hold.kind == "task" else f"tenant {hold.name}",
        hold.queue or "any",
        one.held,
        format_duration((now - one.oldest_at).total_seconds()) if one.oldest_at else "-",
        "is being released" if hold.releasing else ends,
        hold.by or "-",
        hold.reason or "-",
        f"{one.workers} of {one.of}",
    )
