"""One command for each declared operation; nothing here knows a particular one."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from opsdash.cli.output import print_line, print_styled
from opsdash.cli.plain import changing, clean, print_json, warn
from opsdash.cli.progress import Bar, stopping
from opsdash.cli.reads import connected
from opsdash.cli.strict import UNCHANGED, Command
from opsdash.cli.summary import outbox
from opsdash.errors import Invalid, OpsdashError, PhraseMissing, Refused, Unavailable, Uncertain, sentences
from opsdash.model import Effect, Figure, Line, Preview, Progress, Status, to_plain, usernames
from opsdash.operation import CONFIRMATION, Operation, command_line, parameters, spelled, undo_of
from opsdash.services.best_effort import best_effort
from opsdash.services.queues.receipt import receipt_text
from opsdash.services.queues.trash import span
from opsdash.text import format_duration, parse_duration, shell_word

if TYPE_CHECKING:
    from opsdash.services.console import Console

LOOKS = {"will": "", "warning": "yellow", "will_not": "dim", "note": ""}
"""Kind of a preview's line → how a terminal shows it."""
WAIT_STEP_S = 0.2
BEGUN = "opsdash.begun"
"""In the command's ``meta``: what an interrupt says once the operation has begun."""
PERHAPS = "It may be done, in part or as a whole: see opsdash audit."
UNSEEN = Progress(done=False, message="It is done; its progress could not be read.", final=True)
AGREED_S = 6.0
"""Longer than one look for other workers is from the next: so long the same is known, and nothing will change it."""
REPEAT_S = 10.0
"""After this time a line is printed again if only its figures have changed."""


class OperationCommand(Command):
    """Runs one operation.

    Attributes:
        turn_on: Where not everybody uses what it is about, how that is turned on: it is listed last.
    """

    changes = True
    turn_on = ""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it; of an interrupt it is said whether something was changed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort(f"interrupted. {ctx.meta.get(BEGUN, UNCHANGED)}") from None


def operation_command(operation: type[Operation]) -> OperationCommand:
    """The click command of an operation, from its declaration."""
    command = OperationCommand(
        operation.name.replace("_", "-"),
        callback=_callback(operation),
        params=[*_parameters(operation), *_common_options(), *(_wait_options() if operation.settles else ())],
        help="\n\n".join([operation.help, operation.warning, *_targets(operation)]),
        short_help=operation.help,
    )
    command.turn_on = operation.turn_on
    return command


def _callback(kind: type[Operation]) -> Callable[..., None]:
    def run(
        *,
        confirm: str | None,
        phrase: str | None,
        dry_run: bool,
        as_json: bool,
        wait: bool = False,
        timeout: int = 0,
        **params: Any,
    ) -> None:
        changing()
        operation = kind(**params)
        with connected() as console, _own_rules(kind):
            if dry_run:
                _print_preview(console.preview(operation), operation.reason, as_json=as_json)
                return
            actor = console.settings.actor(usernames.os_user(), surface="cli")
            reviewed = None
            if sys.stdin.isatty():
                if confirm is None:
                    reviewed = console.preview(operation)
                    _print_preview(reviewed, operation.reason, as_json=False, err=as_json)
                    confirm = _confirmation()
                if confirm == CONFIRMATION and phrase is None and (expected := _expected(console, operation, reviewed)):
                    phrase = _prompt(f"Type {clean(expected)} as well")
            meta = click.get_current_context().meta
            try:
                meta[BEGUN] = PERHAPS
                with Bar() as bar, stopping() as cancelled:
                    effect = console.run(
                        operation,
                        actor=actor,
                        confirm=confirm or "",
                        phrase=phrase or "",
                        reviewed=reviewed,
                        on_progress=bar.show,
                        cancelled=cancelled,
                    )
            except Refused as error:
                if error.field == "confirm" and reviewed is None:
                    _check(console, operation)
                if error.field == "confirm" and confirm is None:
                    raise _advised(error, f"pass --confirm {CONFIRMATION}") from None
                if phrase is None and isinstance(error, PhraseMissing):
                    raise _advised(error, f"add --phrase {shell_word(error.expected)}") from None
                raise
            meta[BEGUN] = "The operation has ended: see opsdash audit."
            spooled = console.audit.outbox_length()
            if effect.ok and not as_json:
                print_line(effect.message)
                if receipt := receipt_text(effect.details):
                    print_line(receipt)
                if undo := _undo(effect):
                    print_line(undo)
            progress = None
            try:
                if wait:
                    # Done is done, whatever keeps it from being watched.
                    progress = best_effort("waiting", lambda: _wait(console, operation, timeout)) or UNSEEN
            except KeyboardInterrupt:
                warn(f"{effect.message} This was done. Only the wait was stopped.")
                meta[BEGUN] = "This was done."
                raise
        if as_json:
            status = Status.SUCCESS if effect.ok else Status.FAILURE
            plain = {**to_plain(effect), "undo": undo_of(effect)}
            print_json({"operation": kind.name, "status": status, **plain, "progress": to_plain(progress)})
        elif progress is not None and progress.done:
            print_line(progress.message)
        if spooled:
            warn(outbox(spooled))
        if not effect.ok:
            warn(effect.message)
            if receipt := receipt_text(effect.details):
                warn(receipt)
            if undo := _undo(effect):
                warn(undo)
            click.get_current_context().exit(Uncertain.exit_code)
        if progress is not None and not progress.done:
            waited = "and waiting does not help" if progress.final else f"after {format_duration(timeout)}"
            warn(f"still not done {waited}: {progress.message}")
            for todo in progress.todo:
                click.echo(f"   → {clean(todo)}", err=True)
            click.get_current_context().exit(Uncertain.exit_code)
        if progress is None and not effect.followed:
            click.get_current_context().exit(Uncertain.exit_code)

    return run


def _undo(effect: Effect) -> str:
    """The command that takes it back; empty where none does."""
    if effect.undo is None:
        return ""
    within = f" within {span(effect.undo_s)}" if effect.undo_s is not None else ""
    return f"Undo{within}: {command_line(effect.undo)}"


@contextmanager
def _own_rules(kind: type[Operation]) -> Iterator[None]:
    """What an operation's own rule turns down is refused: the audit log says so, and so does the exit code."""
    try:
        yield
    except Invalid as error:
        if error.setting:
            raise
        names = {field.name: _called(field) for field in parameters(kind)}
        text = error.fault_of(names.get(error.field, error.field))
        raise Refused(text, hint=error.hint, field=error.field) from error


def _advised(error: Refused, do: str) -> Refused:
    """The same, with what a script has to add."""
    return Refused(error.message, hint=sentences(error.hint, f"Without a terminal to ask on, {do}."), field=error.field)


def _check(console: Console, operation: Operation) -> None:
    """What is wrong with the arguments comes before what is wrong with the confirmation.

    Raises:
        Refused, Invalid: By a rule of the operation.
    """
    with suppress(Unavailable, Uncertain):
        console.preview(operation)


def _wait(console: Console, operation: Operation, timeout_s: int) -> Progress:
    """Looks until the effect has come to its end, the time is up or no time would help; tells each step on stderr."""
    deadline, printed, printed_s = time.monotonic() + timeout_s, "", 0.0
    final, since_s = "", 0.0
    while True:
        progress = operation.progress(console.snapshot())
        now_s = time.monotonic()
        if not progress.final:
            final = ""
        elif progress.message != final:
            final, since_s = progress.message, now_s
        if (progress.done and not progress.final) or now_s >= deadline or (final and now_s - since_s >= AGREED_S):
            return progress
        # Ages and counts change with each read; a log gets them from time to time, and all other changes at once.
        stage = progress.stage or progress.message
        if stage != printed or now_s - printed_s >= REPEAT_S:
            printed, printed_s = stage, now_s
            click.echo(clean(progress.message), err=True)
        time.sleep(WAIT_STEP_S)


def _expected(console: Console, operation: Operation, reviewed: Preview | None) -> str:
    """The phrase to ask for."""
    if reviewed is not None:
        return reviewed.phrase
    try:
        return operation.phrase(console.services)
    except OpsdashError:  # the run meets the same outage, says so and audits the attempt
        return ""


def _confirmation() -> str:
    """What is typed; a ``yes`` in other letters is asked for once more."""
    typed = _prompt(f"Type {CONFIRMATION} to confirm")
    if typed != CONFIRMATION and typed.strip().lower() in ("y", "yes"):
        typed = _prompt(f"Type {CONFIRMATION} in capital letters")
    return typed


def _prompt(question: str) -> str:
    """The answer; empty for Ctrl-D.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    try:
        return str(click.prompt(question, default="", show_default=False, err=True))
    except click.Abort as error:  # click's for both
        click.echo(err=True)
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return ""


def _targets(operation: type[Operation]) -> Iterator[str]:
    """Click shows no help for what is given without a dash."""
    for field in parameters(operation):
        if field.metadata["positional"]:
            yield f"{field.name.upper()}: {field.metadata['help']}"


def _parameters(operation: type[Operation]) -> Iterator[click.Parameter]:
    for field in parameters(operation):
        meta = field.metadata
        if meta["several"]:
            yield click.Argument([field.name], nargs=-1, callback=_in_one)
        elif meta["positional"]:
            yield click.Argument([field.name], type=_Parsed(meta["parse"], field.name, meta["help"]))
        else:
            option = spelled(field)
            default = None if field.default is dataclasses.MISSING else field.default
            if isinstance(default, bool):
                yield click.Option([option, field.name], is_flag=True, help=meta["help"])
                continue
            yield click.Option(
                [option, field.name],
                type=_Parsed(meta["parse"], option.lstrip("-")),
                default=default,
                required=field.default is dataclasses.MISSING,
                help=meta["help"],
            )


def _in_one(_ctx: click.Context, _param: click.Parameter, words: tuple[str, ...]) -> str:
    return " ".join(words)


def _called(field: dataclasses.Field[Any]) -> str:
    """A parameter's name as the command's usage has it."""
    return field.name.upper() if field.metadata["positional"] else spelled(field)


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--confirm"], metavar=CONFIRMATION, help="The confirmation; asked for on a terminal when absent."
        ),
        click.Option(
            ["--phrase"],
            metavar="TEXT",
            help="The second text that a risky operation needs (--dry-run shows it); a terminal asks for it.",
        ),
        click.Option(["--dry-run"], is_flag=True, help="Print the preview and change nothing."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON for programs."),
    ]


def _wait_options() -> list[click.Parameter]:
    return [
        click.Option(["--wait"], is_flag=True, help="Return when it has taken effect everywhere."),
        click.Option(
            ["--timeout"],
            type=_Parsed(parse_duration, "duration"),
            default="60s",
            show_default=True,
            help="How long to wait; exit code 5 if it was not enough.",
        ),
    ]


def _print_preview(preview: Preview, reason: str, *, as_json: bool, err: bool = False) -> None:
    if as_json:
        print_json(preview)
        return
    lines = list(preview.in_order)
    if shown := [_figure(one) for one in preview.figures if one.shown]:
        lines.append(Line("note", " · ".join(shown)))
    if reason:
        lines.append(Line("note", f"Reason: {reason}"))
    if preview.phrase:
        note = f"Beside {CONFIRMATION} type {preview.phrase!r}: --phrase {shell_word(preview.phrase)}"
        lines.append(Line("note", note))
    if err:  # stdout is kept for the JSON of the result
        for text in (preview.title, preview.warning, *(_line(line) for line in lines)):
            click.echo(clean(text), err=True)
        return
    print_line(f"{preview.title}: {preview.warning}")
    for one in lines:
        print_styled(f"  {_line(one)}", LOOKS[one.kind])


def _line(line: Line) -> str:
    option = f"--{line.choice.replace('_', '-')}"
    return f"{line.text} To change that: {option}." if line.choice else line.text


def _figure(figure: Figure) -> str:
    """``waiting: 12 tasks``, ``match: ≈ 256 tasks (± 30)``."""
    about = "≈ " if figure.exactness == "estimated" else ""
    off = f" (± {figure.error:,})" if figure.exactness == "estimated" and figure.error else ""
    old = f", {format_duration(figure.age_s)} old" if figure.age_s is not None else ""
    value = f"{figure.value:,}" if isinstance(figure.value, int | float) else str(figure.value)
    return f"{figure.shown_label}: {about}{value}{f' {figure.shown_unit}' if figure.shown_unit else ''}{off}{old}"


class _Parsed(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """A declaration's own parser as a click type."""

    def __init__(self, parse: Callable[[str], Any], name: str, missing: str = "") -> None:
        self.parse = parse
        self.name = name
        self.missing = missing

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What the missing argument is, and where to find it."""
        return self.missing

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
