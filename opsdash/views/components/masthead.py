"""The line that says where one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import panel as pn
import param

from opsdash.views.components.base import HERE, Component


class Masthead(Component):
    """Deployment, visitor, age of the figures, and the switch between light and dark."""

    environment = param.String(doc="Its name, as the settings have it.")
    risk: param.Selector[str] = param.Selector(default="none", objects=["high", "medium", "low", "none"])
    where = param.String(doc="Which broker.")
    who = param.String(doc="Who looks, with which role.")
    mode = param.String(doc="What is not as it should be in production.")
    read_at = param.Number(default=0, doc="When the figures were read, in seconds since 1970; 0: not yet.")
    keys = param.Dict(
        default={},
        doc="Key -> names: a single key presses, or enters, the first of these that is there; no name: it is sent.",
    )
    keys_work = param.Boolean(default=True, doc="Single keys do that. The browser remembers it.")
    has_help = param.Boolean(default=False, doc="It has a button for the keyboard shortcuts, `help`.")
    help = param.Event(doc="Keyboard shortcuts were asked for.")

    _bundle = HERE / "masthead.js"
    _written = ("help", "keys_work")

    def __init__(self, **params: Any) -> None:
        self._on_key: list[Callable[[str], Any]] = []
        super().__init__(**params)

    def on_key(self, callback: Callable[[str], Any]) -> None:
        """Calls, or awaits, ``callback`` with a key of ``keys`` that has no names, when it is pressed."""
        self._on_key.append(callback)

    def _handle_msg(self, data: Any) -> None:
        key = data.get("key") if isinstance(data, Mapping) else None
        if isinstance(key, str) and self.keys.get(key) == []:
            for callback in self._on_key:
                pn.state.execute(partial(callback, key), schedule=False)
