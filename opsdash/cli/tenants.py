"""``tenants``: how many tasks each tenant has."""

from __future__ import annotations

import click

from opsdash.cli.output import print_line, print_table
from opsdash.cli.plain import json_option, print_json
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.model import Hold, TenantTasks
from opsdash.model.tenant_tasks import about

NOTHING = "No task names a tenant by {key}, and no tenant is held."


@click.command(cls=Command)
@json_option
def tenants(*, as_json: bool) -> None:
    """Tasks of each tenant: waiting, running, failed and held; ~ is an estimate."""
    with connected() as console:
        read = console.tenant_tasks.read()
    if as_json:
        print_json(read)
        return
    print_table(
        ["Tenant", "Waiting", "Running", "Failed", "Held", "State"],
        [_row(one) for one in read.tenants],
        empty=NOTHING.format(key=read.key),
        wraps=("Tenant",),
    )
    for sentence in read.sentences:
        print_line(sentence)


def _row(one: TenantTasks) -> tuple[str | int, ...]:
    return (
        one.tenant,
        _number(one.waiting, one.waiting_error),
        one.running,
        _number(one.failed, one.failed_error),
        _number(one.held, one.held_error),
        "" if one.hold is None else _held(one.hold),
    )


def _held(hold: Hold) -> str:
    by = f" by {hold.by}" if hold.by else ""
    until = f" until {hold.expires_at:%Y-%m-%d %H:%M} UTC" if hold.expires_at else ""
    return f"{'is being released' if hold.releasing else 'held'}{by}{until}"


def _number(number: int, error: int) -> str | int:
    return about(number, error) if error else number
