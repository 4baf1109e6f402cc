"""``audit``: who did what, exports, and whether the log is whole."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from opsdash.cli.output import print_line, print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import Group
from opsdash.errors import Invalid, Refused
from opsdash.model import Status, times, to_plain
from opsdash.operation import heading_of, registry
from opsdash.text import searched

if TYPE_CHECKING:
    from opsdash.services.audit.query import Filter
    from opsdash.services.console import Console

NO_OPERATIONS = "No operations logged yet."


class _Moment(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """A time, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, datetime):
            return value
        try:
            return times.typed(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _filter(console: Console, chosen: Mapping[str, Any]) -> Filter:
    from opsdash.services.audit.query import Filter  # SQLAlchemy: --help does without

    try:
        return console.audit.named(Filter(**chosen), registry())
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, field=f"--{error.field}") from error


def _filters(command: Any) -> Any:
    for option in (
        click.option("--text", default="", help="Only entries whose details contain this, in upper or lower case."),
        click.option("--until", type=_Moment(), help="Only entries before this time (UTC) or age."),
        click.option("--since", type=_Moment(), help="Only entries since this time (UTC) or age, e.g. 2h."),
        click.option(
            "--status",
            callback=lambda _context, _option, chosen: chosen or "",
            type=click.Choice([s.value for s in Status]),
            metavar="STATUS",
            help=f"Only this outcome: {', '.join(s.value for s in Status)}.",
        ),
        click.option("--operation", default="", help="Only this operation, e.g. clear_queue."),
        click.option(
            "--broker",
            default="",
            help="Only operations on this broker, named as in the log, e.g. redis-a:6379/0; `this`: this console's.",
        ),
        click.option("--user", default="", help="Only this user."),
    ):
        command = option(command)
    return command


@click.group(cls=Group, invoke_without_command=True)
@json_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, newest first.")
@click.option("--after", help="Start after this entry: the last line of the previous page shows the value.")
@click.option("--csv", "as_csv", is_flag=True, help="Export the whole log as CSV.")
@_filters
@click.pass_context
def audit(ctx: click.Context, /, *, as_json: bool, limit: int, after: str | None, as_csv: bool, **chosen: Any) -> None:
    """Recent operations, newest first: when, who, what, how it ended."""
    if ctx.invoked_subcommand is not None:
        return
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    with connected() as console:
        if as_csv:
            for line in console.audit.export(_filter(console, chosen)):
                sys.stdout.write(line)
            return
        console.audit.drain()
        page = console.audit.page(_filter(console, chosen), limit=limit, after=after)
        waiting, here = console.audit.outbox_length(), console.broker.identity
    if page.searched is not None:
        warn(f"{searched(page.searched, page.of, further=after is not None)}; continue with --after {page.after}")
    if as_json:
        print_json(page.entries)
        return
    # Its own broker an operator knows; where there is another one, each says which it is about.
    several = any(entry.broker not in (None, here) for entry in page.entries)
    print_table(
        ["Time (UTC)", "User", "Operation", "Status", "Details", *["Broker"][:several]],
        [
            (
                f"{entry.timestamp:%Y-%m-%d %H:%M:%S}",
                entry.user,
                heading_of(entry),
                entry.status.value,
                entry.description + (f" Reason: {entry.reason}" if entry.reason else ""),
                *[entry.broker or "unknown"][:several],
            )
            for entry in page.entries
        ],
        empty="No entry of the audit log matches." if any(chosen.values()) else NO_OPERATIONS,
        gives_way=(*["Broker"][:several], "Status"),
        wraps=("Details", "Operation"),
    )
    if waiting is None:
        warn("it is not known whether steps of the audit log wait in the outbox: Redis did not answer")
    elif waiting:
        warn(f"{waiting:,} steps of the audit log wait in Redis for the database")
    if page.after and limit != 20 and page.searched is None:
        print_line(f"More: --after {page.after}")


@audit.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "flat", "jsonl"]),
    default="csv",
    show_default=True,
    help="CSV with all columns, CSV with one column per fact, or one JSON document a line.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: stdout.")
@_filters
def export(*, form: str, output: Path | None, **chosen: Any) -> None:
    """The log as CSV or JSON Lines, newest first: every column, or `flat` with one column per fact."""
    written = 0
    with connected() as console:
        shows = output is not None and sys.stderr.isatty()
        total = console.audit.total(_filter(console, chosen)) if shows else None
        lines = console.audit.export(_filter(console, chosen), form=form)
        with (
            _target(output) as out,
            click.progressbar(
                lines,
                length=total,
                label="Exporting",
                file=sys.stderr,
                hidden=not shows,
            ) as shown,
        ):
            for line in shown:
                out.write(line)
                written += 1
    if output is not None:
        print_line(f"Wrote {written - (form != 'jsonl'):,} entries to {output}.")


@audit.command()
def head() -> None:
    """Number and HMAC of the newest entry in the hash chain. Keep it where the database's owner can't write."""
    with connected() as console:
        print_line(console.audit.head())


@audit.command()
@json_option
@click.option("--head", help="A head noted earlier, NUMBER:SEAL; the log must still contain it.")
def verify(*, as_json: bool, head: str | None) -> None:
    """Verify the hash chain: no entry was changed, removed, inserted or reordered."""
    if head is not None and not re.fullmatch(r"\d+:[0-9a-f]*", head):
        raise Invalid(f"expected NUMBER:SEAL as this command prints it, got {head!r}", field="--head")
    with connected() as console:
        shown = sys.stderr.isatty() and not as_json
        with click.progressbar(length=1, label="Verifying", file=sys.stderr, hidden=not shown) as bar:

            def progress(at: int, of: int) -> None:
                bar.length = max(of, 1)
                bar.update(at - bar.pos)

            found = console.audit.verify(head, progress)
    if as_json:
        print_json(to_plain(found) | {"ok": found.ok, "message": found.message})
    else:
        print_line(found.message)
        for problem in found.problems:
            print_line(f"  {problem}")
        unkeyed = "written without OPSDASH_SECRET_KEY: an attack on them can't be shown"
        if found.unkeyed_through is not None:
            unkeyed = (
                f"written before OPSDASH_SECRET_KEY was set, up to number {found.unkeyed_through:,}: not protected"
            )
        for number, what in (
            (found.before, "finished before the hash chain existed"),
            (found.unkeyed, unkeyed),
            (found.in_progress, "without a result yet"),
        ):
            if number:
                print_line(f"  {number:,} {'entry' if number == 1 else 'entries'} {what}.")
    if not found.ok:
        raise Refused(found.message if as_json else "the hash chain of the audit log is broken.")


@contextmanager
def _target(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", newline="", encoding="utf-8") as file:
            yield file
    except (PermissionError, FileNotFoundError) as error:
        raise Invalid(f"{output} can't be written: {error.strerror}", field="--output") from error
