"""One part of the page as a component, and the whole page inside another page."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import panel as pn
import param

from opsdash.views.components import SCRIPTS, STYLES, Channel, ClosedDoor, _joined

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.model import Model
    from pyviz_comms import Comm

NEEDS = {
    "workers": ("now", "status", "controls", "workers"),
    "queues": ("now", "status", "controls", "queues"),
    "chart": ("now", "status", "queues"),
    "log": ("now", "status", "controls", "log"),
    "tenants": ("now", "status", "controls", "tenants"),
    "controls": ("now", "status", "controls", "queues", "tenants"),
}
"""Which parts of the page's state a widget shows; the others don't travel to it."""


class Embedded(Channel):
    """The page's component inside another page: in a notebook, a template, another application.

    Attributes:
        served: It was made for one browser session of a server, whose request has the user. Made outside of one, it
            acts for the user who runs the process, so it must never be shown to a server's visitor.
    """

    whole = param.Boolean(default=False, doc="It has the browser window to itself.")
    limit_ms = param.Integer(default=30_000, doc="Time without a message after which it counts as not live.")

    served = False

    def _get_model(
        self, doc: Document, root: Model | None = None, parent: Model | None = None, comm: Comm | None = None
    ) -> Model:
        if doc.session_context is not None and not self.served:
            model: Model = _elsewhere()._get_model(doc, root, parent, comm)
            return model
        return super()._get_model(doc, root, parent, comm)

    def tell(self, kind: str, **fields: Any) -> None:
        """Sends one message to every place where it is shown."""
        if not self.served:
            self._follow_to_other_documents()
        if kind == "charted" and not self.served and self._models:
            pn.io.push_notebook(self)  # Bokeh's own figures are not followed by Panel there
        super().tell(kind, **fields)

    def _follow_to_other_documents(self) -> None:
        """jupyter_bokeh (VS Code) puts a model into its own Document: Panel's messages go there, too.

        Panel 1.9 sends them to the Document that the model was made for (``io/notebook.py``, ``ipywidget``).
        """
        views = pn.state._views
        for ref, (model, _) in self._models.items():
            if ref in views and model.document not in (None, views[ref][2]):
                view, root, _, comm = views[ref]
                views[ref] = (view, root, model.document, comm)


class Fragment(Embedded):
    """One part of the page by itself."""

    part: param.Selector[str] = param.Selector(default="workers", objects=list(NEEDS), doc="Which.")
    home = param.String(default="overview", doc="The page's tab whose columns and controls it shows.")
    queue = param.String(default="", doc="The queue that it shows first.")

    _esm = _joined(*(name for name in SCRIPTS if name not in {"page.js", "masthead.js"}), "widget.js")
    _stylesheets = [_joined(*STYLES)]  # noqa: RUF012 - Panel's own convention

    def tell(self, kind: str, **fields: Any) -> None:
        """Sends one message, of the state only what this part shows."""
        for name in ("patch", "state"):
            if name in fields:
                fields[name] = cut(fields[name], self.part)
        super().tell(kind, **fields)


@functools.lru_cache(maxsize=32)
def cut(text: str, part: str) -> str:
    """Of a state or a patch, as JSON, what one part needs; made once for all widgets of a kind."""
    whole = json.loads(text)
    needed = {name: whole[name] for name in NEEDS[part] if name in whole}
    return json.dumps(needed, separators=(",", ":"), ensure_ascii=False)


def _elsewhere() -> ClosedDoor:
    return ClosedDoor(
        heading="This widget was created before your visit",
        lines=[
            "It acts for the user who started this server, so it shows nothing to a visitor.",
            "Create it in a function that the server calls for each one: pn.serve(lambda: opsdash.WorkerHealth(ops)).",
        ],
    )
