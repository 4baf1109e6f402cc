"""A widget in a notebook: what its browser sends comes in the kernel's turns, and what was first arrives first."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import panel as pn
from bokeh.document import Document
from panel.io.model import add_to_doc

from opsdash.views.components.panel_private import in_kernels_turn


class Line:
    """A comm of pyviz_comms: ``init`` is called by the browser that opens it."""

    def __init__(self) -> None:
        self._comm: Any = None
        self.sent: list[Any] = []

    def init(self) -> None:
        self._comm = self

    def send(self, data: Any = None, **_more: Any) -> None:
        self.sent.append(json.loads(data))


class Cell:
    """A column that a cell shows, and what a browser would send it."""

    def __init__(self) -> None:
        self.comm, self.turns, self.heard = Line(), [], []
        self.listener: Callable[[Any], None] | None = None
        self.column, self.doc = pn.Column(), Document()
        self.root = self.column.get_root(self.doc, self.comm)
        self.browser = SimpleNamespace(_comm=self, _handle_msg=self.heard.append)
        self.column._comms[self.root.ref["id"]] = (self.comm, self.browser)
        add_to_doc(self.root, self.doc, True)
        in_kernels_turn(self.root, self.doc, self.comm, self.turns.append)

    def on_msg(self, listener: Callable[[Any], None]) -> None:
        self.listener = listener

    def turn(self) -> None:
        """The kernel's event loop comes round."""
        turns, self.turns[:] = list(self.turns), []
        for one in turns:
            one()


def test_what_changes_before_a_browser_listens_comes_as_one_message_once_it_does() -> None:
    cell = Cell()
    cell.column.append(pn.pane.Str("first"))
    cell.column.append(pn.pane.Str("second"))
    assert cell.comm.sent == []
    cell.comm.init()
    assert cell.comm.sent == [], "not in the browser's own thread"
    cell.turn()
    _header, _metadata, content = cell.comm.sent
    assert [event["attr"] for event in content["events"] if event["kind"] == "ModelChanged"].count("children") == 1
    cell.column.append(pn.pane.Str("third"))
    assert len(cell.comm.sent) == 6


def test_what_a_browser_sends_is_handled_in_the_kernels_turn_and_in_its_order() -> None:
    cell = Cell()
    in_kernels_turn(cell.root, cell.doc, cell.comm, lambda _what: None)  # of another widget in the same cell
    cell.comm.init()
    assert cell.listener is not None
    cell.listener("first")
    cell.listener("second")
    assert cell.heard == []
    cell.turn()
    assert cell.heard == ["first", "second"]


def test_a_cell_that_was_run_again_meanwhile_is_opened_for_nobody() -> None:
    cell = Cell()
    pn.state._views.pop(cell.root.ref["id"])
    cell.comm.init()
    assert (cell.turns, cell.comm.sent) == ([], [])
