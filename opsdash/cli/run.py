"""``run``: a runbook's steps, one after the other, previewed as a whole and confirmed once."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from opsdash.cli.operations import LOOKS, _confirmation, _figure, _Parsed
from opsdash.cli.output import print_line, print_table
from opsdash.cli.plain import changing, clean, print_json, warn
from opsdash.cli.reads import connected
from opsdash.cli.strict import UNCHANGED, Command
from opsdash.errors import Refused
from opsdash.model import Preview, to_plain, usernames
from opsdash.operation import CONFIRMATION, Operation, command_line, recorded
from opsdash.text import parse_duration

if TYPE_CHECKING:
    from opsdash.runs.plan import Plan, StepPreview
    from opsdash.runs.runbook import Runbook
    from opsdash.runs.state import RunState
    from opsdash.services.console import Console

VALUES = ("queue", "for", "drain", "hold", "reason", "note", "file", "link")
ALL = "all"
"""What --status means without an id."""


@dataclass(frozen=True)
class _Asked:
    """What was typed."""

    words: tuple[str, ...]
    values: Mapping[str, str]
    wait_s: int | None
    confirm: str | None
    dry_run: bool
    as_json: bool


@click.command(cls=Command)
@click.argument("name", required=False, metavar="[NAME]")
@click.argument("words", nargs=-1, metavar="[-- COMMAND...]", type=click.UNPROCESSED)
@click.option("--queue", help="The queue that the runbook is about; default: all.")
@click.option("--for", "for_", metavar="DURATION", help="How long its pause or hold lasts if nobody ends it, e.g. 30m.")
@click.option("--drain", metavar="BUILD", help="Instead of a pause: drain the workers of this build, e.g. the old one.")
@click.option("--hold", metavar="TASK", help="Instead of a pause: hold the tasks of this name; * matches any text.")
@click.option("--reason", help="The reason; the audit log keeps it with each step.")
@click.option("--note", help="A note for the audit log, of a runbook that has one.")
@click.option("--file", help="Where a snapshot is written; default: a new file here.")
@click.option("--link", help="The address to show; default: OPSDASH_PAGE_URL.")
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="Another value of a team's own runbook.")
@click.option(
    "--wait",
    "wait_s",
    type=_Parsed(parse_duration, "duration"),
    help="How long to wait for what the run waits for; default: the runbook's. Exit code 5 if it was not enough.",
)
@click.option("--continue", "continued", metavar="ID", help="Continue a run that was left behind.")
@click.option("--roll-back", "rolled_back", metavar="ID", help="Take back what a run that was left behind has done.")
@click.option("--list", "listed", is_flag=True, help="List the runbooks.")
@click.option("--status", "shown", is_flag=False, flag_value=ALL, metavar="[ID]", help="Show the runs, or one of them.")
@click.option("--confirm", metavar=CONFIRMATION, help="The confirmation; asked for on a terminal when absent.")
@click.option("--dry-run", is_flag=True, help="Print the preview of the whole and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs; a command's output goes to stderr.")
def run(
    *,
    name: str | None,
    words: tuple[str, ...],
    sets: tuple[str, ...],
    wait_s: int | None,
    continued: str | None,
    rolled_back: str | None,
    listed: bool,
    shown: str | None,
    confirm: str | None,
    dry_run: bool,
    as_json: bool,
    for_: str | None,
    **given: str | None,
) -> None:
    """Run a runbook: deploy, incident, or one of your team's.

    Its steps are operations, each with its audit entry; it is previewed as a whole and confirmed once. What is
    interrupted is continued or rolled back by its id.

    NAME: The runbook: deploy -- COMMAND pauses (or drains one build), waits until nothing runs, runs the command and
    resumes; incident pauses (or holds the tasks of one name), writes everything there is to see into a file, and notes
    what is known.
    """
    if continued is not None and name is not None:
        words, name = (name, *words), None  # behind --
    asked = _Asked(words, _values(given | {"for": for_}, sets), wait_s, confirm, dry_run, as_json)
    chosen = [option for option in (name, continued, rolled_back, shown) if option is not None]
    if len(chosen) + listed != 1:
        raise click.UsageError(f"expected a runbook, --continue, --roll-back, --status or --list. {UNCHANGED}")
    with connected() as console:
        from opsdash.runs.runbook import load  # here, as they load most of the console

        books = load(console.settings.runbooks)
        if listed:
            _list(books, as_json=as_json)
        elif shown is not None:
            _status(console, shown, as_json=as_json)
        else:
            changing()
            code = _carry_out(console, books, name, continued, rolled_back, asked)
            if code:
                click.get_current_context().exit(code)


def _values(given: Mapping[str, str | None], sets: Sequence[str]) -> dict[str, str]:
    found = {name: value for name, value in given.items() if value is not None}
    for text in sets:
        name, is_pair, value = text.partition("=")
        if not is_pair or not name or name in found or name in VALUES:
            raise click.UsageError(
                f"--set: expected NAME=VALUE, each name once and none of {', '.join(VALUES)}. {UNCHANGED}"
            )
        found[name] = value
    return found


def _carry_out(
    console: Console,
    books: Mapping[str, Runbook],
    name: str | None,
    continued: str | None,
    rolled_back: str | None,
    asked: _Asked,
) -> int:
    """Previews, asks and runs; the exit code."""
    from opsdash.runs import behind, plan
    from opsdash.runs.store import RunStore

    actor = console.settings.actor(usernames.os_user(), surface="cli")
    store, host = RunStore(console.broker), socket.gethostname()
    console.broker.ping()
    old_ones: list[RunState] = []
    if (run_id := continued or rolled_back) is not None:
        if asked.values or asked.wait_s is not None or (rolled_back is not None and asked.words):
            raise click.UsageError(f"--continue and --roll-back take what the run was begun with. {UNCHANGED}")
        old = behind.picked_up(store, run_id, host)
        made = (
            plan.again(behind.as_left(old, console), console, asked.words, books.get(old.runbook))
            if continued is not None
            else plan.for_rolling_back(old)
        )
    else:
        book = books.get(name or "")
        if book is None:
            raise Refused(f"There is no runbook {(name or '')[:80]!r}.", hint=f"There are: {', '.join(books)}.")
        made = plan.planned(
            book, console, asked.values, by=actor.name, host=host, words=asked.words, wait_s=asked.wait_s
        )
        for text in behind.told(store):
            warn(text)
        old_ones = behind.not_in_the_way(store, console, book.name, host)
    plan.check(made, console, actor)
    how = "roll back" if rolled_back is not None else "continue" if continued is not None else "begin"
    previews = plan.previews(made, console) if how != "roll back" else plan.roll_back_previews(made, console)
    if asked.dry_run:
        _print_plan(made.run, previews, as_json=asked.as_json, dry_run=how == "begin")
        return 0
    confirm = asked.confirm
    if sys.stdin.isatty() and confirm is None:
        _print_plan(made.run, previews, as_json=False, err=True)
        confirm = _confirmation()
    if confirm != CONFIRMATION:
        hint = (
            ""
            if asked.confirm or sys.stdin.isatty()
            else f"Without a terminal to ask on, pass --confirm {CONFIRMATION}."
        )
        raise Refused(f"The run was not confirmed with {CONFIRMATION}.", hint=hint, field="confirm")
    return _run(console, made, previews, how, asked, old_ones)


def _run(
    console: Console, made: Plan, previews: Sequence[StepPreview], how: str, asked: _Asked, old_ones: list[RunState]
) -> int:
    from opsdash.runs import behind
    from opsdash.runs.command import Signals
    from opsdash.runs.runner import Runner
    from opsdash.runs.store import RunStore

    actor = console.settings.actor(usernames.os_user(), surface="cli")
    store = RunStore(console.broker)
    run = made.run
    reviewed = {one.name: one.preview for one in previews if one.name in made.operations} if how == "begin" else {}
    with Signals() as signals, store.leased(run.runbook, run.id, actor.name, socket.gethostname()):
        behind.close(store, old_ones)
        _say(f"run {run.id} of {run.runbook}: {'beginning' if how == 'begin' else how}")
        runner = Runner(
            console,
            store,
            actor,
            signals,
            say=_say,
            out=sys.stderr if asked.as_json else None,
            reviewed=reviewed,
        )
        ended = runner.roll_back(made) if how == "roll back" else runner.start(made, how)
    if ended.run.status == "not_taken_back":
        _say(f"to try that again: opsdash run --roll-back {run.id}")
    for step, undo in undos(ended.run):
        _say(f"{step} stays as the run has left it; undo: {command_line(undo)}")
    if asked.as_json:
        print_json({"run": ended.run, "exit_code": ended.exit_code})
    return ended.exit_code


def undos(run: RunState) -> list[tuple[str, Operation]]:
    """What undoes each step that a run has done and not taken back, the last first: an incident's pause goes on."""
    found = []
    for step in reversed(run.steps):
        undo = step.effect.get("undo") if step.status.value == "done" else None
        made = recorded(undo.get("operation"), undo.get("params")) if isinstance(undo, Mapping) else None
        if made is not None:
            found.append((step.name, made))
    return found


def _say(text: str) -> None:
    """One line on stderr; where nobody is there to read any more, the run goes on."""
    with contextlib.suppress(OSError):
        warn(text)


def _list(books: Mapping[str, Runbook], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {**to_plain(book), "takes_command": book.takes_command, "values": sorted(book.values)}
                for book in books.values()
            ]
        )
        return
    rows = [
        (book.name, ", ".join(step.name for step in book.steps), ", ".join(sorted(book.values)), book.help)
        for book in books.values()
    ]
    print_table(
        ("Runbook", "Steps", "Values", "What it does"), rows, empty="There are none.", wraps=("What it does", "Steps")
    )


def _status(console: Console, run_id: str, *, as_json: bool) -> None:
    from opsdash.runs import behind
    from opsdash.runs.store import RunStore

    store = RunStore(console.broker)
    runs = store.newest() if run_id == ALL else [store.find(run_id)]
    stands = {run.id: behind.state_of(run, store) for run in runs}
    if as_json:
        print_json([{**to_plain(run), "state": stands[run.id]} for run in runs])
        return
    if run_id == ALL:
        rows = [
            (run.id, run.runbook, stands[run.id], run.by, f"{run.at:%Y-%m-%d %H:%M:%S}", run.message) for run in runs
        ]
        print_table(
            ("Run", "Runbook", "State", "User", "Begun (UTC)", "Result"),
            rows,
            empty="No run is kept.",
            wraps=("Result",),
        )
    else:
        (run,) = runs
        print_line(
            f"Run {run.id} of {run.runbook} by {run.by} on {run.host}, begun {run.at:%Y-%m-%d %H:%M:%S} UTC:"
            f" {stands[run.id]}"
        )
        for step in run.steps:
            print_line(
                f"  {step.name}: {step.status.value.replace('_', ' ')}{f': {step.message}' if step.message else ''}"
            )
        if run.message:
            print_line(run.message)
    for text in behind.told(store):
        warn(text)


def _print_plan(
    run: RunState, previews: Sequence[StepPreview], *, as_json: bool, err: bool = False, dry_run: bool = False
) -> None:
    """Args: dry_run: The run is never kept, so its id is not shown."""
    if as_json:
        print_json({"run": to_plain(run) | ({"id": None} if dry_run else {}), "steps": previews})
        return
    what = f"Runbook {run.runbook}" if dry_run else f"Run {run.id} of {run.runbook}"
    lines = [(f"{what}{f': {run.reason}' if run.reason else ''}", "bold")]
    for number, one in enumerate(previews, start=1):
        lines.append((f"{number}. {one.name}: {one.preview.title}", "bold"))
        lines += [(f"     {line.text}", LOOKS[line.kind]) for line in one.preview.in_order]
        if figures := _figures(one.preview):
            lines.append((f"     {figures}", ""))
    for text, look in lines:
        click.echo(click.style(clean(text), bold=True) if look == "bold" and not err else clean(text), err=err)


def _figures(preview: Preview) -> str:
    return " · ".join(_figure(one) for one in preview.figures if one.shown)
