"""The command line. Each command is thin: it reads its arguments, calls one service and prints the answer."""

from __future__ import annotations

import difflib
import errno
import io
import logging
import os
import sys
from typing import Any, NoReturn

import click

from opsdash import installed
from opsdash.cli.administration import db, demo, serve
from opsdash.cli.audit import audit
from opsdash.cli.concurrency_limits import concurrency_limits
from opsdash.cli.doctor import doctor
from opsdash.cli.failed import failed
from opsdash.cli.holds import holds
from opsdash.cli.messages import approvals, peek, trash
from opsdash.cli.notify import notify
from opsdash.cli.operations import OperationCommand, operation_commands
from opsdash.cli.output import CHANGES, print_json, warn
from opsdash.cli.peers import peers
from opsdash.cli.rate_limits import rate_limits
from opsdash.cli.reads import queues, status, workers
from opsdash.cli.run import run
from opsdash.cli.schedules import schedules
from opsdash.cli.strict import Group
from opsdash.cli.tasks import find_task, tasks
from opsdash.cli.tenants import tenants
from opsdash.cli.user import user
from opsdash.cli.workflow import workflow
from opsdash.errors import OpsdashError, Unavailable, Uncertain, sentences

UNWRITABLE = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG}
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # the shell's own code for Ctrl-C

EPILOG = """\b
Exit codes: 0 done · 1 bug · 2 usage or configuration · 3 refused, nothing changed
4 unavailable, nothing changed · 5 uncertain, look · 130 interrupted."""


READS = (
    *(status, queues, workers, holds, tenants, rate_limits, concurrency_limits, schedules, failed),
    *(peek, find_task, workflow, tasks, trash, approvals, audit),
)
WHY = "To find out why: opsdash doctor."
MAX_ECHO = 80
"""Characters of one argument that an answer repeats."""
MAX_LINE = 1_000
"""Characters of an error: a terminal's screen is there for what was wrong, not for what was pasted by mistake."""


class _ReaderGoneError(Exception):
    """The reader of our output has closed it."""


class _Commands(Group):
    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Adds it, unless its name is taken: another package's operation never replaces a command of ours."""
        if (name or cmd.name) in self.commands:
            warn(f"the operation {name or cmd.name} has the name of a command: the command is kept")
            return
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists them; last, with a line on how it is turned on, what not everybody uses."""
        rare = {n: one for n, one in self.commands.items() if isinstance(one, OperationCommand) and one.turn_on}
        everyday = click.Group(commands={name: one for name, one in self.commands.items() if name not in rare})
        everyday.format_commands(ctx, formatter)
        if rare:
            with formatter.section("Further commands"):
                formatter.write_dl([(name, f"{one.short_help} {one.turn_on}") for name, one in rare.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:  # as it is, click would end with 1: a bug, by our exit codes
            raise _ReaderGoneError from error
        except OpsdashError as error:
            reads = ctx.invoked_subcommand in {command.name for command in READS}
            _complain(
                error, changes=CHANGES in ctx.meta, advice=WHY if reads and isinstance(error, Unavailable) else ""
            )
            ctx.exit(error.exit_code)
        return result

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command, or a suggestion: for `pause` it suggests pause-processing."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            typed = args[0]
            near = [name for name in self.commands if name.startswith(typed.lower())]
            near = near or difflib.get_close_matches(typed, self.commands, cutoff=0.7)
            meant = f"Did you mean {' or '.join(near)}?" if near else f"{ctx.command_path} --help lists them."
            raise click.UsageError(f"No such command {typed!r}. {meant}") from error


def _version(ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        click.echo(installed.describe())
        ctx.exit()


@click.group(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="The version, and the parts that are installed.",
)
def cli() -> None:
    """opsdash: the operations console for Celery on Redis.

    Settings come from the environment (OPSDASH_REDIS_URL, OPSDASH_DATABASE_URL, ...).
    """


for command in (
    *(demo, serve, db, user, doctor, notify),
    *READS,
    peers,
    run,
    *operation_commands(),
):
    cli.add_command(command)


def main() -> NoReturn:
    """Runs the command line: one line for every mistake, the contract's exit codes, a traceback only for a bug."""
    _open_streams()
    logging.getLogger().addHandler(logging.NullHandler())  # without any, Python prints warnings
    try:
        code = cli.main(prog_name="opsdash", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = EXIT_USAGE
    except click.ClickException as error:
        warn(_one_line(error.format_message()))
        code = EXIT_USAGE
    except (KeyboardInterrupt, click.Abort) as error:
        warn(str(error) or "interrupted")
        code = EXIT_INTERRUPTED
    except _ReaderGoneError:  # opsdash audit | head
        _write_nothing_more()
        code = 0
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _write_nothing_more()
        warn(f"can't write the answer: {error.strerror}. The operation may be done: see opsdash audit")
        code = Uncertain.exit_code
    sys.exit(code)


def _complain(error: OpsdashError, *, changes: bool, advice: str) -> None:
    """One line on stderr, and for programs the same with its facts on stdout.

    Args:
        changes: The command was to change something: it is said whether that was done.
    """
    text = sentences(str(error) if changes else error.explanation, advice)
    if "--json" in sys.argv:
        print_json({"error": {"type": type(error).__name__.lower(), "message": text, **error.facts}})
    warn(_one_line(text))


def _open_streams() -> None:
    """Streams that can be used, also if they were closed or the terminal has a small character set."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the process
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _write_nothing_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # not even at exit


def _one_line(text: str) -> str:
    """On one line, and in short: what is repeated of the command's own words is cut, not what is said about them."""
    for word in sys.argv[1:]:
        for typed in (word, word.partition("=")[2], repr(word)[1:-1]):
            if len(typed) > MAX_ECHO:
                text = text.replace(typed, f"{typed[:MAX_ECHO]}…")
    text = " ".join(text.split())
    # The end stays: it says whether anything was changed.
    return text if len(text) <= MAX_LINE else f"{text[: MAX_LINE // 2]} … {text[-MAX_LINE // 2 :]}"
