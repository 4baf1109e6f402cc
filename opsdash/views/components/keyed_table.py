"""A table that lives: rows keep their place, and what is open, chosen, sorted or scrolled stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import panel as pn
import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Headed
from opsdash.views.components.panel_private import apply_changes_without_dispatch, unheard
from opsdash.views.components.shared import Row, Rows, SharedRows

MOST_OPEN = 20
"""Rows that are open at a time: what one shows costs the event loop some 20 ms, and of more the oldest is closed."""


class RowAction(NamedTuple):
    """An act of a row was chosen.

    Attributes:
        key: Of the row.
        name: Of the act.
    """

    key: str
    name: str


class KeyedTable(Headed):
    """Rows by key. Assign ``rows`` freely: what has changed travels, and only changed cells touch the DOM.

    A row that is open shows the object that ``row_content`` makes for its key, as in ``pn.widgets.Tabulator``.

    A column is ``{"field": …, "title": …}`` and what else applies:

    * ``kind``: text, number, rate, decimal, bytes, time, clock, since, left, ago (seconds since 1970; the tooltip says
      when that is, in UTC and here), state (``[tone, word, remark]``), bar (with ``of``, the field of the whole), spark
      (what ``sparkline`` makes of points) or acts.
    * ``priority``: 1 always stays; of 2 (the default), 3 and 4 the highest number goes first where it is narrow. What
      has gone is said below the first cell, up to 3, else in its title; an open row has all of it.
    * ``pin``: stays in sight while the others scroll. ``rank``: the field to sort by. ``least``: the field that says
      that the value is at least so much; ``about``: that it is an estimate. ``help``: what the title means. ``whole``:
      is never broken.

    ``acts`` are ``[name, label, help]``, or dicts with ``name``, ``label``, ``help``, ``usual``, ``danger`` and
    ``copies``: the usual ones are buttons, the rest is in the row's menu. One that ``copies`` a field of its row puts
    it into the clipboard, and needs nobody else. ``called`` of a row is its name to a screen reader.

    Args:
        row_content: Makes what an open row shows, from its key; rows open if it is given.
    """

    columns = param.List(default=[], item_type=dict, doc="The columns, in their order.")
    rows = SharedRows(default=Rows(), item_type=dict, doc="Rows in their order; `key` tells one from another.")
    now = param.Number(default=0, doc="The server's clock in seconds; 0: the browser's. Ages count from it.")
    frozen = param.Boolean(default=False, doc="Ages don't go on, they are as of `now`: no new figures come.")
    empty = param.String(default="Nothing to show.", doc="Said when there is no row.")
    selectable = param.Boolean(default=False, doc="One row can be chosen.")
    selected = param.String(default="", doc="Key of the chosen row.")
    expandable = param.Boolean(default=False, doc="Rows open.")
    expanded = param.List(default=[], item_type=str, doc="Keys of the rows that are open.")
    limit = param.Integer(default=500, bounds=(1, None), doc="From so many rows on, only those in sight are drawn.")

    contents = Children(doc="What the open rows show, in the order of `opened`.")
    opened = param.List(default=[], item_type=str, doc="Keys of the rows that have their content.")
    patch = param.String(doc="What has changed in the rows last, for the script.")

    _bundle = HERE / "keyed_table.js"
    _written = ("expanded", "selected")

    def __init__(self, *, row_content: Callable[[str], Any] | None = None, **params: Any) -> None:
        self._row_content = row_content
        self._made: dict[str, Any] = {}
        self._on_action: list[Callable[[RowAction], Any]] = []
        self._sent_again = 0
        super().__init__(**{"expandable": row_content is not None, **params})

    def on_action(self, callback: Callable[[RowAction], Any]) -> None:
        """Calls, or awaits, ``callback`` when an act of a row is chosen.

        It has to be a function that Python knows as a coroutine function, or a plain one: a lambda hides a coroutine.
        """
        self._on_action.append(callback)

    @param.depends("expanded", "rows", watch=True, on_init=True)
    def _open_rows(self) -> None:
        """Makes what is shown by rows that are open; a browser, or a link, may name whatever it likes."""
        if self._row_content is None or not (self.expanded or self._made):
            return
        if len(self.expanded) > MOST_OPEN:
            self.expanded = self.expanded[-MOST_OPEN:]
        there = {row["key"] for row in self.rows}
        keys = [key for key in dict.fromkeys(self.expanded) if key in there or key in self._made]
        if keys == list(self._made):
            return
        self._made = {key: self._made[key] if key in self._made else self._row_content(key) for key in keys}
        self.param.update(contents=list(self._made.values()), opened=keys)

    def _handle_msg(self, data: Any) -> None:
        if not isinstance(data, Mapping):
            return
        if data.get("all"):  # a change was missed; who has been sent these rows needs them no second time
            if self._sent_again != self.rows.version:
                self._sent_again = self.rows.version
                self._send_msg({"rows": self.rows.text()})
            return
        key, name = str(data.get("key"))[:500], str(data.get("name"))[:200]
        if any(row["key"] == key and name in self._offered(row) for row in self.rows):  # not to be trusted
            for callback in self._on_action:
                pn.state.execute(partial(callback, RowAction(key, name)), schedule=False)

    def _offered(self, row: Row) -> set[str]:
        fields = [column["field"] for column in self.columns if column.get("kind") == "acts"]
        acts = [act for field in fields for act in row.get(field) or ()]
        return {act["name"] if isinstance(act, Mapping) else act[0] for act in acts}

    def _update_model(self, events: Any, msg: Any, root: Any, model: Any, doc: Any, comm: Any) -> None:
        """Sends rows as what has changed in them; a browser that comes later finds all of them."""
        if "rows" in msg and "rows" in events:
            with unheard(self._changing, root.ref["id"], ["rows"]):
                apply_changes_without_dispatch(doc, model.data, {"rows": msg.pop("rows")})
            msg["patch"] = self.rows.change(events["rows"].old)
        super()._update_model(events, msg, root, model, doc, comm)
