"""The dialog between a button and an operation: nothing happens without a typed ``YES``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel.viewable import Viewer

from opsdash.errors import Invalid
from opsdash.operation import Operation
from opsdash.operations import ClearQueue, DeleteTrash
from opsdash.views import form
from opsdash.views.components import Explanation
from opsdash.views.session import Session


class ConfirmationDialog(Viewer):
    """Shows the session's pending confirmation; Confirm hands it over, Cancel and Esc only close."""

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self._session = session
        self._pending = session.pending
        self._explanation = Explanation(sizing_mode="stretch_width")
        self._field = pmui.TextInput(
            label="Type YES to confirm", size="small", sizing_mode="stretch_width", margin=(0, 0, 12, 0)
        )
        self._cancel = pmui.Button(label="Cancel", variant="text", color="default", on_click=self._close, margin=0)
        self._confirm = pmui.Button(
            label="Confirm", variant="contained", disabled=True, on_click=self._on_confirm, margin=(0, 0, 0, 8)
        )
        self._dialog = pmui.Dialog(
            self._explanation,
            self._field,
            pn.Row(pn.HSpacer(), self._cancel, self._confirm, margin=(0, 0, 12, 0), sizing_mode="stretch_width"),
            close_on_click=True,  # without it MUI ignores Esc too
            width_option="sm",
            sizing_mode="stretch_width",
        )
        self._opener: pmui.Button | None = None
        self._after: Callable[[], None] | None = None
        # value_input follows each key; value would wait for the field to lose focus.
        self._field.param.watch(self._on_typed, "value_input")
        self._field.param.watch(self._on_confirm, "enter_pressed")
        self._explanation.param.watch(self._on_filled, "values")
        self._pending.param.watch(self._on_armed, "armed")
        self._dialog.param.watch(self._on_open, "open")

    def __panel__(self) -> pmui.Dialog:
        return self._dialog

    async def ask(
        self, operation: Operation, opener: pmui.Button | None = None, after: Callable[[], None] | None = None
    ) -> None:
        """Reads the preview and opens the dialog; on an error it tells the operator and opens nothing.

        Args:
            operation: What was asked for.
            opener: The button that gets the focus back; None where it will be gone.
            after: Called once the operation has run and the page knows the new state.
        """
        preview = await self._session.preview(operation)
        if preview is None:
            return
        self._opener, self._after = opener, after
        self._pending.request(operation, preview)
        self._explanation.param.update(
            warning=preview.warning,
            lines=list(preview.lines),
            values={},
            fields=form.fields(operation, preview),
            problem="",
        )
        self._field.param.update(value="", value_input="")
        self._confirm.color = "error" if isinstance(operation, ClearQueue | DeleteTrash) else "primary"
        self._dialog.param.update(title=preview.title, open=True)
        self._session.later(self._field.focus)

    def _on_typed(self, event: Any) -> None:
        self._pending.typed = event.new

    def _on_armed(self, event: Any) -> None:
        self._confirm.disabled = not event.new

    async def _on_filled(self, event: Any) -> None:
        """Shows what the operation would do as it is filled in now."""
        asked = self._pending.operation
        if asked is None or not event.new:
            return
        try:
            operation = form.filled(asked, event.new)
        except Invalid as error:
            self._explanation.problem = str(error)
            return
        preview = await self._session.preview(operation)
        if preview is not None and self._pending.operation is asked and self._explanation.values == event.new:
            self._pending.preview = preview
            self._explanation.param.update(lines=list(preview.lines), problem="")

    def _close(self, _event: Any = None) -> None:
        self._dialog.open = False

    def _on_open(self, event: Any) -> None:
        if event.new:
            return
        self._pending.cancel()
        self._field.param.update(value="", value_input="")
        if self._opener is not None:
            self._opener.focus()

    async def _on_confirm(self, _event: Any = None) -> None:
        asked, typed, preview, after = self._pending.operation, self._pending.typed, self._pending.preview, self._after
        if asked is None or not self._pending.armed:
            return
        try:
            operation = form.filled(asked, self._explanation.values)
        except Invalid as error:
            self._explanation.problem = str(error)
            return
        self._pending.take()  # a second click finds nothing
        self._close()
        await self._session.run(operation, typed, preview)
        if after is not None:
            after()
