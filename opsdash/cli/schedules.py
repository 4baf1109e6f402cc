"""``schedules``: what beat sends, and when."""

from __future__ import annotations

from datetime import datetime

import click

from opsdash.cli.output import print_table
from opsdash.cli.plain import json_option, print_json
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.model import to_plain
from opsdash.model.schedule import Schedule
from opsdash.services.workers.schedules import NO_BEAT
from opsdash.text import count


@click.command(cls=Command)
@json_option
def schedules(*, as_json: bool) -> None:
    """The entries of beat's schedule: last and next run, and which are paused."""
    with connected() as console:
        found = console.schedules.read()
    if as_json:
        print_json([{**to_plain(one), "state": one.state} for one in found])
        return
    print_table(
        ["Schedule", "Task", "When", "Last run (UTC)", "Next run (UTC)", "State"],
        [(one.name, one.task, one.schedule, _at(one.last_run_at), _at(one.fires_at), described(one)) for one in found],
        empty=NO_BEAT,
        gives_way=("Task", "Last run (UTC)", "When"),
        wraps=("State",),
    )


def described(one: Schedule) -> str:
    """Its state, by whom and until when, and what it missed."""
    if one.pause is None:
        return "its beat does not report" if one.state == "silent" else one.state
    by = f" by {one.pause.by}" if one.pause.by else ""
    until = f" until {one.pause.expires_at:%Y-%m-%d %H:%M} UTC" if one.pause.expires_at else ""
    missed = f", missed {count(one.missed, 'run')}" if one.missed else ""
    return f"paused{by}{until}{missed}"


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"
