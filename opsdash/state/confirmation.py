"""The one operation a browser session has asked for and not yet confirmed."""

from __future__ import annotations

import param

from opsdash.model import Preview
from opsdash.operation import CONFIRMATION, Operation


class PendingConfirmation(param.Parameterized):
    """An operation that waits for its typed ``YES``. Each browser session owns one; it is never shared.

    The check here arms a button. The guard is ``Console.run``, which checks again.
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
    armed = param.Boolean(default=False, constant=True, doc="Exactly YES is typed and an operation waits.")

    @param.depends("operation", "typed", watch=True, on_init=True)
    def _derive_armed(self) -> None:
        armed = self.operation is not None and self.typed == CONFIRMATION
        with param.edit_constant(self):
            self.armed = armed

    def request(self, operation: Operation, preview: Preview | None = None) -> None:
        """Puts an operation up for confirmation; whatever waited before, and its typed text, is gone."""
        self.param.update(operation=operation, preview=preview, typed="")

    def cancel(self) -> None:
        """Forgets the operation and the typed text."""
        self.param.update(operation=None, preview=None, typed="")

    def take(self) -> Operation | None:
        """Hands over the operation once: None when it isn't armed, and None to every later caller."""
        if not self.armed:
            return None
        operation: Operation | None = self.operation
        self.cancel()
        return operation
