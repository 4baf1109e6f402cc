"""Note: a sentence in the audit log, for those who read it later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.redaction import masked

if TYPE_CHECKING:
    from opsdash.services.services import Services


class AddNote(Operation):
    """Changes nothing but the audit log, whose entry of it is the note."""

    name: ClassVar[str] = "add_note"
    title: ClassVar[str] = "Add Note"
    help: ClassVar[str] = "Write a note into the audit log."
    warning: ClassVar[str] = "All users of opsdash can read it, and it can't be taken out again."
    approvable: ClassVar[bool] = False
    layout: ClassVar[tuple[str, ...]] = ()

    text: str = argument(
        default="",
        positional=True,
        help="The note, up to 1,000 characters.",
        label="Note",
        placeholder="For example: payments fail since 14:02, the provider is informed",
    )

    def preview(self, services: Services) -> Preview:
        """The note as the log will have it."""
        return Preview(lines=(Line("will", f"The audit log will say: {self._noted()}"),))

    def execute(self, services: Services, act: Act) -> Effect:
        """The entry is all."""
        return Effect(affected=1, message=f"Noted: {self._noted()}")

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The entry itself."""
        return {"message": "The note is what this entry says."}

    def logged_params(self) -> dict[str, Any]:
        """The note without what looks secret."""
        return {**self.params(), "text": masked(self.text)}

    def _noted(self) -> str:
        if not self.text.strip():
            raise Invalid("write something.", field="text")
        return masked(self.text)
