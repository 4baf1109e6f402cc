"""``rate-limits``: how often tasks may start, in all workers together."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from opsdash.cli.output import print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.text import format_duration, shown_rate


@click.command(cls=Command)
@json_option
def rate_limits(*, as_json: bool) -> None:
    """Rate limits of tasks: by whom, until when, and what each worker starts at most."""
    with connected() as console:
        limits = console.rate_limits()
        followers = console.services.rate_limits.followers(console.unmanaged.known()) if limits else None
    if followers is not None and followers.unlimited:
        warn(f"no plug-in that follows a rate limit: {', '.join(followers.unlimited)}")
    if as_json:
        print_json(limits)
        return
    now = datetime.now(UTC)
    print_table(
        ["Task", "Rate", "Set by", "At (UTC)", "Ends in", "Workers", "Reason"],
        [
            (
                limit.task,
                limit.rate,
                limit.by or "-",
                f"{limit.at:%Y-%m-%d %H:%M:%S}" if limit.at else "-",
                format_duration((limit.expires_at - now).total_seconds()) if limit.expires_at else "-",
                ", ".join(f"{host} {shown_rate(per_s)}" for host, per_s in sorted(limit.shares.items())) or "none",
                limit.reason,
            )
            for limit in limits
        ],
        empty="There are no rate limits.",
        gives_way=("At (UTC)", "Workers", "Set by"),
        wraps=("Workers", "Reason"),
    )
