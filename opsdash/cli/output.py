"""Printing for people: lines and tables (no colour off a terminal)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console as Screen
from rich.console import ConsoleOptions, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from opsdash.cli.plain import clean
from opsdash.redaction import LogFilter

_PIPE_WIDTH = 10_000  # a file or a pipe has no right edge: nothing is cut
GAP = 3
"""Cells between two columns."""
WRAPPED = 24
"""Cells that a column of free text has at least."""

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


def print_line(*parts: str) -> None:
    """Words on one line; known states coloured. Text from outside is never read as markup."""
    screen().print(line(*parts), soft_wrap=True)


def print_styled(text: str, style: str) -> None:
    """One line in a style of Rich's; off a terminal as it is."""
    screen().print(Text(clean(text), style=style), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, **fit: Sequence[str]) -> None:
    """A table; numbers to the right; ``empty`` in place of a table without rows; ``fit`` as of ``table``."""
    screen().print(table(columns, rows, empty=empty, **fit))


def line(*parts: str) -> Text:
    """As ``print_line`` prints it."""
    return Text(" ").join(_cell(part) for part in parts)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    empty: str,
    gives_way: Sequence[str] = (),
    wraps: Sequence[str] = (),
) -> RenderableType:
    """As ``print_table`` prints it.

    Args:
        gives_way: Columns that are left out where there is no room, the least important one first.
        wraps: Columns of free text, which goes on in the next line. Others stay whole as long as they can.
    """
    rows = list(rows)
    if not rows:
        return line(empty)
    shown = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    numeric = [all(isinstance(row[index], int | float) for row in rows) for index in range(len(columns))]
    return _Fitting(columns, [[clean(cell) for cell in row] for row in shown], numeric, gives_way, wraps)


class _Fitting:
    """A table that chooses its columns when it is drawn: only then its width is known."""

    def __init__(
        self,
        columns: Sequence[str],
        rows: list[list[str]],
        numeric: Sequence[bool],
        gives_way: Sequence[str],
        wraps: Sequence[str],
    ) -> None:
        self._columns, self._rows, self._numeric = columns, rows, numeric
        self._gives_way, self._wraps = gives_way, wraps
        self._needs = [self._need(index) for index in range(len(columns))]

    def _need(self, index: int) -> int:
        """Cells that a column needs, its title on several lines: of free text, a few words."""
        title = self._columns[index]
        widest = max(map(cell_len, (*title.split(), *(row[index] for row in self._rows))))
        return min(widest, WRAPPED) if title in self._wraps else widest

    def __rich_console__(self, _screen: Screen, options: ConsoleOptions) -> Iterator[RenderableType]:
        kept, left_out = list(range(len(self._columns))), []
        for title in self._gives_way:
            if sum(self._needs[index] for index in kept) + GAP * (len(kept) - 1) <= options.max_width:
                break
            kept.remove(self._columns.index(title))
            left_out.append(title)
        one_line = sum(max(self._needs[index], cell_len(self._columns[index])) + GAP for index in kept) - GAP
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for index in kept:
            side: JustifyMethod = "right" if self._numeric[index] else "left"
            whole = self._columns[index] not in self._wraps
            title = self._columns[index] if one_line <= options.max_width else self._columns[index].replace(" ", "\n")
            made.add_column(title, justify=side, overflow="ellipsis", no_wrap=whole)
        for row in self._rows:
            made.add_row(*(_cell(row[index]) for index in kept))
        yield made
        if left_out:
            yield line(f"Not shown, for lack of room: {', '.join(left_out)}")


def log_to_stderr() -> None:
    """Has what opsdash and its libraries log printed: for a server. A command prints its own sentences only."""
    root = logging.getLogger()
    for none in [one for one in root.handlers if isinstance(one, logging.NullHandler)]:
        root.removeHandler(none)  # of `main`: with any handler there, basicConfig adds none
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in root.handlers:
        handler.addFilter(LogFilter())


def _cell(text: str) -> Text:
    return Text(clean(text), style=_STYLES.get(text, ""))


class _Pipe(Screen):
    def on_broken_pipe(self) -> None:
        """Lets the error go on its way; as it is, Rich would end with 1: a bug, by our exit codes."""
        raise


def screen() -> Screen:
    """Where stdout goes. Off a terminal nothing is coloured or cut, whatever FORCE_COLOR says."""
    if sys.stdout.isatty():
        return Screen(highlight=False)
    return _Pipe(highlight=False, width=_PIPE_WIDTH, no_color=True, force_terminal=False)
