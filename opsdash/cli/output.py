"""Printing: tables for people (no colour off a terminal), JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console as Screen
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from opsdash.model import to_plain
from opsdash.redaction import LogFilter

_PIPE_WIDTH = 10_000  # a file or a pipe has no right edge: nothing is cut

_STYLES = {
    "success": "green",
    "online": "green",
    "RUNNING": "bold green",
    "failure": "red",
    "refused": "red",
    "offline": "red",
    "silent": "red",
    "in_progress": "blue",
    "unknown": "yellow",
    "stalled": "yellow",
    "no consumer": "yellow",
    "paused": "yellow",
    "PAUSED": "bold yellow",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
}

CHANGES = "opsdash.changes"
"""In the command's ``meta``: it was to change something, so an error says whether anything was changed."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def changing() -> None:
    """Says of the command that runs that it is to change something."""
    click.get_current_context().meta[CHANGES] = True


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    takes_all = "utf" in (sys.stdout.encoding or "").lower()
    click.echo(json.dumps(to_plain(value), indent=2, ensure_ascii=not takes_all))


def print_line(*parts: str) -> None:
    """Words on one line; known states coloured. Text from outside is never read as markup."""
    screen().print(line(*parts), soft_wrap=True)


def print_styled(text: str, style: str) -> None:
    """One line in a style of Rich's; off a terminal as it is."""
    screen().print(Text(clean(text), style=style), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table; numbers to the right; ``empty`` in place of a table without rows."""
    screen().print(table(columns, rows, empty=empty))


def line(*parts: str) -> Text:
    """As ``print_line`` prints it."""
    return Text(" ").join(_cell(part) for part in parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> RenderableType:
    """As ``print_table`` prints it."""
    rows = list(rows)
    if not rows:
        return line(empty)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, title in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        made.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return made


def log_to_stderr() -> None:
    """Has what opsdash and its libraries log printed: for a server. A command prints its own sentences only."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogFilter())


def warn(text: str) -> None:
    """One line on stderr, whatever is in it."""
    click.echo(f"opsdash: {clean(text)}", err=True)


def _cell(text: str) -> Text:
    return Text(clean(text), style=_STYLES.get(text, ""))


def clean(text: str) -> str:
    """Text from outside for a terminal: on one line, and no escape sequence in it drives anything."""
    return "".join(char if char.isprintable() or char == " " else repr(char)[1:-1] for char in text)


class _Pipe(Screen):
    def on_broken_pipe(self) -> None:
        """Lets the error go on its way; as it is, Rich would end with 1: a bug, by our exit codes."""
        raise


def screen() -> Screen:
    """Where stdout goes. Off a terminal nothing is coloured or cut, whatever FORCE_COLOR says."""
    if sys.stdout.isatty():
        return Screen(highlight=False)
    return _Pipe(highlight=False, width=_PIPE_WIDTH, no_color=True, force_terminal=False)
