"""The command line. Each command is thin: it reads its arguments, calls one service and prints the answer."""

from __future__ import annotations

import difflib
import errno
import io
import logging
import os
import sys
from importlib.util import find_spec
from typing import Any, NoReturn

import click

from opsdash.cli import commands
from opsdash.cli.help import HELP, TURN_ON
from opsdash.cli.plain import CHANGES, print_json, warn
from opsdash.cli.strict import Group
from opsdash.errors import OpsdashError, Unavailable, Uncertain, sentences

if find_spec("rich") is None:  # a worker's install, which may have click: no command could print
    raise ModuleNotFoundError("No module named 'rich'", name="rich")

UNWRITABLE = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG}
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # the shell's own code for Ctrl-C

EPILOG = """\b
Exit codes: 0 done · 1 bug · 2 usage or configuration · 3 refused, nothing changed
4 unavailable, nothing changed · 5 uncertain, look · 130 interrupted."""


WHY = "To find out why: opsdash doctor."
MOST_HELP = 200
"""Characters of another package's command in the list."""
MAX_ECHO = 80
"""Characters of one argument that an answer repeats."""
MAX_LINE = 1_000
"""Characters of an error: a terminal's screen is there for what was wrong, not for what was pasted by mistake."""


class _ReaderGoneError(Exception):
    """The reader of our output has closed it."""


class _Commands(Group):
    """Every command by name; its module is imported when it is run, and none of them for the list."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return commands.names()

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command."""
        return commands.load(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists them; last, with a line on how it is turned on, what not everybody uses."""
        everyday: list[tuple[str, str]] = []
        rare: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            text, turn_on = HELP.get(name, ""), TURN_ON.get(name, "")
            if not text and (command := self.get_command(ctx, name)):  # another package's
                text, turn_on = command.get_short_help_str(MOST_HELP), getattr(command, "turn_on", "")
            (rare if turn_on else everyday).append((name, f"{text} {turn_on}".rstrip()))
        for title, rows in (("Commands", everyday), ("Further commands", rare)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:  # as it is, click would end with 1: a bug, by our exit codes
            raise _ReaderGoneError from error
        except OpsdashError as error:
            reads = ctx.invoked_subcommand in commands.READS
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
            names = self.list_commands(ctx)
            near = [name for name in names if name.startswith(typed.lower())]
            near = near or difflib.get_close_matches(typed, names, cutoff=0.7)
            meant = f"Did you mean {' or '.join(near)}?" if near else f"{ctx.command_path} --help lists them."
            raise click.UsageError(f"No such command {typed!r}. {meant}") from error


def _version(ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        from opsdash import installed

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
