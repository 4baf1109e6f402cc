"""A dialog as the browser has it: modal, named, closed by Esc, and the focus goes back where it was."""

from __future__ import annotations

import uuid
from typing import Any

import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Component


class Dialog(Component):
    """``pn.layout.Modal`` with a name, Esc, a focus trap and a way back for the focus.

    It says what is about to happen in the words of others, so these are parameters and not markup.
    """

    open = param.Boolean(default=False, doc="It is shown. Esc and a click beside it close it.")
    title = param.String(doc="Its heading, and its name.")
    warning = param.String(doc="One sentence that must not be overlooked.")
    danger = param.Boolean(default=False, doc="What it confirms can't be taken back easily.")
    figures = param.List(default=[], item_type=list, doc="[[number, unit, label], …]: a tile each.")
    breakdown = param.List(default=[], item_type=list, doc="[[kind, count, share in words], …]: shares of a whole.")
    lines = param.List(default=[], item_type=list, doc="[[kind, text], …]; kind: will, will_not, warning or note.")
    about = param.List(default=[], item_type=list, doc="[[label, value], …]: what it is about.")
    problem = param.String(doc="Why what is filled in can't be taken.")
    stale = param.Boolean(default=False, doc="Figures and lines are of what was filled in before: new ones are read.")
    side = param.Boolean(default=False, doc="A panel at the side of the page, of its whole height.")
    keeps = param.Boolean(default=False, doc="It has the browser tab to itself: what is half-filled outlives a reload.")
    kept = param.Dict(default={}, doc="What a reload of the page brings back; empty: nothing. Kept by the browser tab.")
    found = param.Dict(default={}, doc="What was kept when the page was opened: the browser's own word.")
    identity = param.String(
        constant=True, doc="What it has in common with what else shows it: of one widget in two cells one is open."
    )
    objects = Children(doc="Fields.")
    actions = Children(doc="Buttons.")

    _bundle = HERE / "dialog.js"
    _written = ("open", "found")

    def __init__(self, *objects: Any, **params: Any) -> None:
        given = {"identity": uuid.uuid4().hex, **({"objects": list(objects)} if objects else {})}
        super().__init__(**given, **params)
