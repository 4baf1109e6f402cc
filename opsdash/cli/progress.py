"""Long work on the terminal: a bar on stderr, and Ctrl-C as a wish to stop at the next whole step."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from opsdash.cli.plain import clean
from opsdash.model import Progress

WIDTH = 30
EVERY_S = 0.1


class Bar:
    """One line that is drawn over itself; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._drawn_s = 0.0
        self._width = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)

    def show(self, progress: Progress) -> None:
        """Draws, at most every ``EVERY_S``."""
        now_s = time.monotonic()
        if not sys.stderr.isatty() or now_s - self._drawn_s < EVERY_S:
            return
        self._drawn_s = now_s
        text = clean(progress.message)
        if progress.of:
            share = min(1.0, (progress.at or 0) / progress.of)
            text = f"[{'#' * int(share * WIDTH):-<{WIDTH}}] {share:4.0%}  {text}"
        click.echo("\r" + text.ljust(self._width), nl=False, err=True)
        self._width = max(self._width, len(text))


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; a second one stops at once."""
    requested = False

    def request(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        click.echo("\nopsdash: stopping after the current step; press Ctrl-C again to stop at once", err=True)

    # A shell that runs us in the background has it ignored, and only the main thread may say otherwise.
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, request)
    try:
        yield lambda: requested
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
