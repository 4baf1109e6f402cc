"""What comes beside an act, or after it, must never be taken for how the act ended: done is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from opsdash.model import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")


def afterwards(what: str, call: Callable[[], T]) -> T | None:
    """What ``call`` returns; None where it failed, which the log tells.

    Args:
        what: For the log: ``the refresh``.
    """
    try:
        return call()
    except Exception:  # whatever it is: what was done is done, and that is what must be answered
        log.exception("%s failed; what was done stands", what)
        return None


class Listener:
    """The caller's ends of an act: whom it tells its progress, and whom it asks whether to stop.

    One that fails is told of in the log, and is not called again: the act goes on without it.
    """

    def __init__(self, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> None:
        self._on_progress: Callable[[Progress], None] | None = on_progress
        self._cancelled: Callable[[], bool] | None = cancelled

    def on_progress(self, progress: Progress) -> None:
        """Tells it."""
        tell = self._on_progress
        if tell is not None and not afterwards("telling the progress", lambda: _did(tell, progress)):
            self._on_progress = None

    def cancelled(self) -> bool:
        """Asks; where nobody can say, nobody has said that it should stop."""
        if (ask := self._cancelled) is None:
            return False
        answer = afterwards("asking whether to stop", ask)
        if answer is None:
            self._cancelled = None
        return bool(answer)


def _did(tell: Callable[[Progress], None], progress: Progress) -> bool:
    tell(progress)
    return True
