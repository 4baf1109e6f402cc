"""A view that is one table, whose rows come with each reading of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import param
from panel.viewable import Viewable

from opsdash.operation import Operation
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button
from opsdash.views.rows import Row
from opsdash.views.view import View


class TableView(View):
    """Builds the table with its buttons, and keeps its columns; for a view to derive from, which has the rows.

    Attributes:
        heading: The card's title. ``nothing``: what it says without a row.
        fields: The table's columns. ``begins``: operations that have a button above it.
        icon: Of those buttons.
    """

    heading: ClassVar[str] = ""
    nothing: ClassVar[str] = ""
    fields: ClassVar[list[dict[str, Any]]] = []
    begins: ClassVar[tuple[type[Operation], ...]] = ()
    icon: ClassVar[str] = "clock"
    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title=self.heading,
            columns=self.shown_columns(self.fields),
            actions=[self._button(kind) for kind in self.begins] if self.actions else [],
            empty=self.nothing,
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._show()
        return self._table

    def _button(self, kind: type[Operation]) -> Viewable:
        made = button(kind.title, self.icon, on_click=self._dialog.asks(kind))
        made.disabled = not self._session.may(kind)
        return made

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(self.fields)

    def _show(self) -> None:
        """Shows its rows, by ``_fill``."""

    def _fill(self, rows: Sequence[Row]) -> None:
        """Shows these rows, and below them the notes that they have."""
        if self._table is not None:
            note = " ".join(row["note"] for row in rows if row.get("note"))
            set_changed(self._table, rows=rows, note=note, **self.clock())

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"task": action.key})
