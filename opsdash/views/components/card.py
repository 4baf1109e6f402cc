"""A part of the page with a heading."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Headed


class Card(Headed):
    """A named section with anything below its head; ``lines`` need no component for each.

    Figures of Bokeh can't follow CSS variables: a card of figures has ``dark``, and Python draws them in its colours.
    Their legend is said once for all of them, and outside: inside it would lie on the lines.
    """

    lines = param.List(item_type=list, doc="[[tone, text], …]; tone: big, code, ok, warn, bad, info, none, text, mute.")
    legend = param.List(
        default=[], item_type=list, doc="[[kind, text, colour], …]; kind: line, dashed, act, lane, held."
    )
    dark = param.Boolean(
        default=None, allow_None=True, doc="What it is in is dark: the browser's own word; None: nobody asks."
    )
    objects = Children(doc="What it holds.")

    _bundle = HERE / "card.js"
    _written = ("dark",)

    def __init__(self, *objects: Any, **params: Any) -> None:
        super().__init__(**({"objects": list(objects)} if objects else {}), **params)
