"""``failed``: which tasks failed, by task and error; and the tasks of one group."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from opsdash.cli.output import print_line, print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.errors import Refused
from opsdash.model import Failure, FailureGroup, FailureOverview, times
from opsdash.services.failures.facts import failure_facts, group_facts
from opsdash.services.failures.failed_text import counters, error_of, not_kept, not_sendable, queues_of
from opsdash.services.failures.store import FailureFilter
from opsdash.text import count, in_words, parse_duration, shell_word

if TYPE_CHECKING:
    from opsdash.services.console import Console

NOTHING, NO_MATCH = "No failed task is kept.", "No failed task matches. All that are kept: opsdash failed"


def _since(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(cls=Command)
@click.option("--task", default="", help="Name of the task; * matches any text.")
@click.option("--error", default="", help="Type of the error; * matches any text.")
@click.option("--queue", default="", help="Only from this queue.")
@click.option("--since", "since_s", callback=_since, metavar="DURATION", help="Failed last within this time, e.g. 2h.")
@click.option("--group", default="", metavar="FINGERPRINT", help="Open this group: its tasks with their tracebacks.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="Tasks of the group that are shown."
)
@json_option
def failed(*, task: str, error: str, queue: str, since_s: int | None, group: str, limit: int, as_json: bool) -> None:
    """Tasks that failed, grouped by task and error; with --group one group's tasks."""
    now = datetime.now(UTC)
    since = None if since_s is None else times.ago(since_s)
    where = FailureFilter(task=task, error=error, queue=queue, fingerprint=group, since=since)
    with connected() as console:
        seen = console.failed.overview(where)
        for problem in seen.problems:
            warn(problem)
        if group and not seen.groups:
            raise Refused(f"There is no group {group!r} of failed tasks like that.", hint="opsdash failed lists them.")
        page = console.failed.store.page(where, number=limit) if group else None
        if as_json:
            print_json(
                {
                    "total": seen.total,
                    "not_kept": seen.not_kept,
                    "groups": [group_facts(one, now) for one in seen.groups],
                    **(
                        {}
                        if page is None
                        else {"entries": [failure_facts(console.failed, one) for one in page.failures]}
                    ),
                    "problems": seen.problems,
                }
            )
        elif page is None:
            _print_groups(seen, now, empty=NOTHING if where == FailureFilter() else NO_MATCH)
        else:
            _print_group(seen.groups[0], now)
            _print_entries(console, page.failures, page.total)


def _print_groups(seen: FailureOverview, now: datetime, *, empty: str) -> None:
    print_table(
        ["Group", "Task", "Error", "Queue", "Count", "Kept", "First (UTC)", "Last", "Per hour"],
        [
            (
                group.fingerprint,
                group.task or "-",
                error_of(group),
                queues_of(group),
                group.count,
                group.kept,
                f"{group.first_at:%Y-%m-%d %H:%M:%S}",
                f"{in_words((now - group.last_at).total_seconds())} ago",
                f"{group.per_hour(now):,.1f}",
            )
            for group in seen.groups
        ],
        empty=empty,
        gives_way=("First (UTC)", "Per hour", "Kept", "Queue", "Last"),
        wraps=("Task", "Error", "Queue"),
    )
    if seen.groups:
        print_line(f"{count(seen.total, 'failed task')} kept{not_kept(seen.not_kept)}.")
        print_line(f"Open one: opsdash failed --group {shell_word(seen.groups[0].fingerprint)}")


def _print_group(group: FailureGroup, now: datetime) -> None:
    print_line(f"{group.task or 'A task without a name'}: {error_of(group)}")
    facts = {
        "Place": group.place,
        "Text": group.message_text,
        "Count": f"{group.count:,}, {group.kept:,} kept{not_kept(group.not_kept)}",
        "First": f"{group.first_at:%Y-%m-%d %H:%M:%S} UTC",
        "Last": f"{group.last_at:%Y-%m-%d %H:%M:%S} UTC, {group.per_hour(now):,.1f} an hour lately",
        "Queues": counters(group.queues),
        "Workers": counters(group.workers),
    }
    for name, value in facts.items():
        if value:
            print_line(f"  {name}: {value}")


def _print_entries(console: Console, failures: tuple[Failure, ...], total: int) -> None:
    before = ""
    for failure in failures:
        print_line("")
        print_line(failure.id)
        often = (
            f", {count(failure.times, 'time')} since {failure.first_at:%Y-%m-%d %H:%M:%S} UTC"
            if failure.times > 1
            else ""
        )
        facts = {
            "Failed": f"{failure.at:%Y-%m-%d %H:%M:%S} UTC{often}",
            "Worker": failure.worker,
            "Queue": failure.queue,
            "Arguments": failure.arguments,
            "Retries": str(failure.retries) if failure.retries else "",
            "Message": not_sendable(failure),
            "Error": failure.message_text,
        }
        for name, value in facts.items():
            if value:
                print_line(f"  {name}: {value}")
        for link in console.failed.links(failure):
            print_line(f"  {link}")
        if failure.traceback and failure.traceback == before:
            print_line("  The same traceback.")
        else:
            for text in failure.traceback.splitlines():
                print_line(f"    {text}")
        before = failure.traceback
    if total > len(failures):
        print_line(f"{len(failures):,} of {count(total, 'task')}: --limit shows more")
    if any(failure.sendable for failure in failures):
        print_line("")
        print_line(f"To send them again: opsdash retry-failed --group {shell_word(failures[0].fingerprint)}")
