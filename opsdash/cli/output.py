"""Printing: tables for people (no colour off a terminal), JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console as Screen
from rich.table import Table
from rich.text import Text

from opsdash.model import to_plain

_PIPE_WIDTH = 10_000  # a file or a pipe has no right edge: nothing is cut

_STYLES = {
    "success": "green",
    "online": "green",
    "RUNNING": "bold green",
    "failure": "red",
    "refused": "red",
    "offline": "red",
    "in_progress": "blue",
    "unknown": "yellow",
    "stalled": "yellow",
    "paused": "yellow",
    "PAUSED": "bold yellow",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(to_plain(value), indent=2, ensure_ascii=False))


def print_line(*parts: str) -> None:
    """Words on one line; known states coloured. Text from outside is never read as markup."""
    _screen().print(Text(" ").join(_cell(part) for part in parts), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table; numbers to the right; ``empty`` in place of a table without rows."""
    rows = list(rows)
    if not rows:
        print_line(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, title in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    _screen().print(table)


def warn(text: str) -> None:
    """One line on stderr, whatever is in it."""
    click.echo(f"opsdash: {clean(text)}", err=True)


def _cell(text: str) -> Text:
    return Text(clean(text), style=_STYLES.get(text, ""))


def clean(text: str) -> str:
    """Text from outside for a terminal: on one line, and no escape sequence in it drives anything."""
    return "".join(char if char.isprintable() or char == " " else repr(char)[1:-1] for char in text)


def _screen() -> Screen:
    return Screen(highlight=False) if sys.stdout.isatty() else Screen(highlight=False, width=_PIPE_WIDTH, no_color=True)
