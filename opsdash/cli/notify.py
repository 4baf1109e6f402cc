"""``notify``: how sending notifications goes, and a test of each address."""

from __future__ import annotations

import click

from opsdash.cli.output import print_line
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command, Group
from opsdash.config.settings import Settings
from opsdash.errors import Invalid, Unavailable
from opsdash.model import usernames
from opsdash.text import format_duration

NONE = "nobody is notified: OPSDASH_NOTIFY_URLS is not set"


@click.group(cls=Group, invoke_without_command=True)
@json_option
@click.pass_context
def notify(ctx: click.Context, /, *, as_json: bool) -> None:
    """Notifications: how sending goes, and a test. A running `opsdash serve` sends them."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json goes behind the name of the command")
        return
    from opsdash.services.notify.store import NotificationStore
    from opsdash.services.notify.targets import targets

    with connected() as console:
        found, problems = targets(console.settings)
        figures = NotificationStore(console.broker, console.audit.signer).figures()
    addresses = [target.label for target in found]
    if as_json:
        print_json({"addresses": addresses, "problems": problems, "figures": figures})
        return
    if not addresses and not problems:
        warn(NONE)
    for problem in problems:
        warn(problem)
    if addresses:
        print_line(f"Notified: {', '.join(addresses)}.")
    oldest = f", the oldest for {format_duration(figures.oldest_s)}" if figures.oldest_s is not None else ""
    print_line(f"{figures.sent:,} sent, {figures.waiting:,} wait{oldest}, {figures.given_up:,} given up.")
    if figures.problem:
        print_line(f"The last attempt failed: {figures.problem}.")
    print_line(f"Sent by {figures.sender}." if figures.sender else "No console sends just now: opsdash serve does.")


@notify.command(cls=Command)
@json_option
def test(*, as_json: bool) -> None:
    """Send one message to each address, and print which of them took it.

    Exit code 0: all took it; 4: one did not.
    """
    from opsdash.services.notify.trial import send_test

    settings = Settings.from_env()
    if not settings.notify_urls:
        raise Invalid("not set; expected addresses such as mailtos://…", setting="OPSDASH_NOTIFY_URLS")
    found = []
    for tried in send_test(settings, usernames.os_user()):
        found.append(tried)
        if as_json:
            continue
        took = "" if tried.took_s is None else f" ({tried.took_s:.1f} s)"
        print_line("ok" if tried.taken else "error", f"{tried.address}: {tried.reason or 'took it'}{took}")
    taken = sum(tried.taken for tried in found)
    if as_json:
        print_json({"taken": taken, "addresses": found})
    else:
        print_line(f"{taken} of {len(found)} took it.")
    if taken < len(found):
        click.get_current_context().exit(Unavailable.exit_code)
