"""What opsdash's own browser components have in common: their own colours, and files that a browser keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panel as pn
import param
from panel.io.reload import watch
from panel.viewable import Children

from opsdash.views.components.panel_private import FileComponent
from opsdash.views.components.shared import Figures, Rows

HERE = Path(__file__).parent

if pn.config.autoreload:  # `panel serve --dev`: Panel watches modules by itself, but neither styles nor a shared script
    for _file in (*HERE.glob("*.js"), *HERE.glob("*.css"), *HERE.with_name("assets").glob("*.css")):
        watch(str(_file))


class Component(FileComponent):
    """Base. A subclass names its script, ``_bundle``; the style of the same name beside it is loaded, too.

    Its own script, ``base.js``, is what the others import. They show text that other people wrote (queue names,
    reasons, hostnames), so they write ``textContent`` and never HTML. What may be done is decided elsewhere.
    """

    theme: param.Selector[str] = param.Selector(
        default="auto",
        objects=["auto", "light", "dark"],
        doc="Auto: as `data-theme` of what it is in says, or Jupyter, or what is painted behind it.",
    )

    __abstract = True

    _bundle = _shared = HERE / "base.js"
    _render_policy = "manual"

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **params})

    def _process_param_change(self, params: dict[str, Any]) -> dict[str, Any]:
        shared = {name: value.text() for name, value in params.items() if isinstance(value, Rows | Figures)}
        return super()._process_param_change({**params, **shared})


class Headed(Component):
    """What has a head: title, a note and actions. One component with its body, because each costs a session 9 ms."""

    title = param.String(doc="Its heading, and its name to a screen reader.")
    note = param.String(doc="A few words beside the title.")
    actions = Children(doc="Buttons and fields, at the right of its head.")

    __abstract = True
