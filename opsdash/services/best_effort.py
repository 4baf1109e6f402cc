"""Calls during or after an operation whose failure must not change the operation's result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from opsdash.model import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")


def best_effort(what: str, call: Callable[[], T]) -> T | None:
    """What ``call`` returns; None if it failed, which is logged.

    Args:
        what: For the log: ``the refresh``.
    """
    try:
        return call()
    except Exception:  # any failure: the operation is done, and its result must be returned
        log.exception("%s failed; the operation is done", what)
        return None


class Listener:
    """The caller's callbacks of an operation: for its progress, and whether to stop.

    A callback that fails is logged and not called again: the operation continues without it.
    """

    def __init__(self, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> None:
        self._on_progress: Callable[[Progress], None] | None = on_progress
        self._cancelled: Callable[[], bool] | None = cancelled

    def on_progress(self, progress: Progress) -> None:
        """Reports it."""
        on_progress = self._on_progress
        if on_progress is not None and not best_effort("reporting the progress", lambda: _did(on_progress, progress)):
            self._on_progress = None

    def cancelled(self) -> bool:
        """Asks; False without a callback."""
        if (is_cancelled := self._cancelled) is None:
            return False
        answer = best_effort("asking whether to stop", is_cancelled)
        if answer is None:
            self._cancelled = None
        return bool(answer)


def _did(on_progress: Callable[[Progress], None], progress: Progress) -> bool:
    on_progress(progress)
    return True
