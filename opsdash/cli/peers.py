"""``peers``: the other deployments, a row for each."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from opsdash.cli.output import print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.model import to_plain
from opsdash.model.peer import PeerReading
from opsdash.text import at_least, format_duration

WAIT_S = 12.0
"""Longer than one of them may take to answer."""


@click.command(cls=Command)
@json_option
def peers(*, as_json: bool) -> None:
    """Other deployments (OPSDASH_PEERS): state, pending tasks, workers, failures and verdict of each."""
    with connected() as console:
        found = console.peers.read(WAIT_S)
    if as_json:
        now = datetime.now(UTC)
        print_json([{**to_plain(one), "age_s": one.age_s(now), "stale": one.stale(now)} for one in found])
        return
    print_table(
        ("Deployment", "State", "Pending Tasks", "Oldest", "Workers", "Failures", "Verdict", "Page"),
        [_row(one) for one in found],
        empty="OPSDASH_PEERS names none.",
        gives_way=("Page", "Oldest"),
    )
    for one in found:
        if one.error:
            warn(f"{one.name}: {one.error}")


def _row(one: PeerReading) -> tuple[str, ...]:
    oldest = "-" if one.oldest_s is None else at_least(one.oldest_s, unsure=one.oldest_at_least)
    age_s = one.age_s()
    stale = f" ({format_duration(age_s)} ago)" if age_s is not None and one.stale() else ""
    return (
        one.name,
        f"{one.state}{stale}",
        _figure(one.waiting),
        oldest,
        _figure(one.workers),
        _figure(one.failures),
        one.verdict.replace("_", " ") or "-",
        one.url,
    )


def _figure(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
