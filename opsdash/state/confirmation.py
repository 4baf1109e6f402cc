"""The one operation a browser session has asked for and not yet confirmed."""

from __future__ import annotations

from typing import NamedTuple

import param

from opsdash.model import Preview
from opsdash.operation import CONFIRMATION, Operation


class Confirmed(NamedTuple):
    """What is handed over: the operation, and what was typed beside ``YES``."""

    operation: Operation
    phrase: str


class PendingConfirmation(param.Parameterized):
    """An operation that waits for its typed ``YES``, and its phrase where the preview names one.

    Each browser session owns one; it is never shared. The check here arms a button. The guard is ``Console.run``, which
    checks again.
    """

    # allow_refs=False: Param would otherwise resolve, that is run, what is assigned here.
    operation = param.ClassSelector(
        class_=Operation, default=None, allow_None=True, allow_refs=False, doc="What waits; None when nothing does."
    )
    preview = param.ClassSelector(
        class_=Preview,
        default=None,
        allow_None=True,
        allow_refs=False,
        doc="What it would do, as read when it was asked for.",
    )
    typed = param.String(default="", allow_refs=False, doc="What the operator has typed so far.")
    phrase_typed = param.String(default="", allow_refs=False, doc="What the operator has typed of the phrase so far.")
    armed = param.Boolean(
        default=False, constant=True, doc="An operation waits, and YES and the phrase are typed exactly."
    )

    @param.depends("operation", "preview", "typed", "phrase_typed", watch=True, on_init=True)
    def _derive_armed(self) -> None:
        phrase = self.preview.phrase if self.preview is not None else ""
        phrased = not phrase or self.phrase_typed == phrase
        armed = self.operation is not None and self.typed == CONFIRMATION and phrased
        with param.edit_constant(self):
            self.armed = armed

    def request(self, operation: Operation, preview: Preview | None = None) -> None:
        """Puts an operation up for confirmation; whatever waited before, and what was typed, is gone."""
        self.param.update(operation=operation, preview=preview, typed="", phrase_typed="")

    def cancel(self) -> None:
        """Forgets the operation and what was typed."""
        self.param.update(operation=None, preview=None, typed="", phrase_typed="")

    def take(self) -> Confirmed | None:
        """Hands over the operation and the phrase once: None when it isn't armed, and None to every later caller."""
        if self.operation is None or not self.armed:
            return None
        confirmed = Confirmed(self.operation, self.phrase_typed)
        self.cancel()
        return confirmed
