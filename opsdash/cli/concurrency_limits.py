"""``concurrency-limits``: how many tasks of a name may run at once, in all workers together."""

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


@click.command(cls=Command)
@json_option
def concurrency_limits(*, as_json: bool) -> None:
    """Concurrency limits: how many tasks run and wait, by whom, until when, and where they run."""
    with connected() as console:
        console.unmanaged.look()
        snapshot = console.snapshot()
    if snapshot.redis_error:
        raise Unavailable(snapshot.redis_error)
    limits = snapshot.concurrency_limits
    for one in limits:
        if one.without:
            warn(f"{one.hold.name}: {', '.join(one.without[:5])} can't keep to the limit.")
    if as_json:
        print_json(limits)
        return
    now = datetime.now(UTC)
    print_table(
        ["Task", "At once", "Running", "Waiting", "Oldest", "Set by", "Ends in", "Running in", "Reason"],
        [_row(one, now) for one in limits],
        empty="There are no concurrency limits.",
        gives_way=("Oldest", "Running in", "Set by"),
        wraps=("Running in", "Reason"),
    )


def _row(one: HeldTasks, now: datetime) -> tuple[str | int, ...]:
    hold = one.hold
    ends = "-" if hold.expires_at is None else format_duration(max(0.0, (hold.expires_at - now).total_seconds()))
    return (
        hold.name,
        hold.most,
        one.running,
        one.held,
        format_duration((now - one.oldest_at).total_seconds()) if one.oldest_at else "-",
        hold.by or "-",
        "is being removed" if hold.releasing else ends,
        ", ".join(f"{host} {number:,}" for host, number in sorted(one.shares.items())) or "-",
        hold.reason,
    )
