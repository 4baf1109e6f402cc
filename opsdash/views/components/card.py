"""A part of the page with a heading."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Headed


class Card(Headed):
    """A named section with anything below its head; ``lines`` need no component for each."""

    lines = param.List(item_type=list, doc="[[tone, text], …]; tone: big, ok, warn, bad, info, none, text or mute.")
    objects = Children(doc="What it holds.")

    _bundle = HERE / "card.js"

    def __init__(self, *objects: Any, **params: Any) -> None:
        super().__init__(**({"objects": list(objects)} if objects else {}), **params)
