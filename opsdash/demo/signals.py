"""Signals as something to wait for, in a process without threads."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While open: SIGINT, SIGTERM and SIGHUP are counted, and together with a child's end they wake `wait`.

    Attributes:
        stops: How often somebody asked to stop.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        self._before: dict[int, object] = {}
        self._wakeup = -1

    def __enter__(self) -> Signals:
        """Installs the handlers."""
        # The byte that Python writes here ends the select below, whatever it was doing when the signal came.
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*STOP, signal.SIGCHLD):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the user wants it to outlive the terminal
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Puts back what was there."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned, it takes
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Returns after ``seconds``, or at once when a signal came or comes."""
        ready, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        if ready:
            os.read(self._reader, 4096)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP:
            self.stops += 1


def _pipe() -> tuple[int, int]:
    """A non-blocking pipe where there is no pipe2 (macOS)."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends
