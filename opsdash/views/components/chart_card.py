"""A section for figures: it says whether what is around it is dark, and what lines and marks mean."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Headed


class ChartCard(Headed):
    """Figures of Bokeh can't follow CSS variables: Python draws them in the colours that ``dark`` asks for.

    The legend is said once for all figures, and outside of them: inside it would lie on the lines.
    """

    words = param.String(doc="Why there is nothing to see; empty: there is.")
    legend = param.List(default=[], item_type=list, doc="[[kind, text, colour], …]; kind: line, act or held.")
    dark = param.Boolean(default=False, doc="What it is in is dark: the browser's own word.")
    objects = Children(doc="The figures.")

    _bundle = HERE / "chart_card.js"

    def __init__(self, *objects: Any, **params: Any) -> None:
        super().__init__(**({"objects": list(objects)} if objects else {}), **params)
