"""What the demo says while it starts and runs: one line a step, with its time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO


class Progress:
    """Prints steps as they happen. On a terminal the last line says what is still being waited for.

    Nobody reading any more (``opsdash demo | head``) is no reason to end: it goes on without saying anything.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._started = time.monotonic()
        self._terminal = self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._transient = ""

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def step(self, name: str, text: str) -> None:
        """One step is done."""
        self.line(f"{self.seconds:6.1f} s  {name:<10} {text}")

    def line(self, text: str = "") -> None:
        """One line, at once."""
        self._write(f"{self._erase()}{text}\n")

    def waiting(self, names: Sequence[str]) -> None:
        """Shows what is not ready yet; on a terminal only, where the next line takes its place."""
        if not self._terminal:
            return
        text = f"{self.seconds:6.1f} s  … {', '.join(names)}" if names else ""
        text = text[: shutil.get_terminal_size().columns - 1]  # a second line could not be wiped
        if text != self._transient:
            self._write(self._erase() + text)
            self._transient = text

    def _erase(self) -> str:
        erase = "\r\x1b[K" if self._transient else ""
        self._transient = ""
        return erase

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:  # the pipe or the terminal is gone
            self._silence()
        except UnicodeEncodeError:  # a terminal without UTF-8
            with contextlib.suppress(OSError):
                self._out.write(text.encode("ascii", "replace").decode("ascii"))
                self._out.flush()

    def _silence(self) -> None:
        """Sends everything to nowhere, what is still buffered too: Python would complain about it at exit."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._out.fileno())
        os.close(nowhere)
