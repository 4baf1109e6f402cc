"""Tabs that a keyboard and a screen reader find; ``pn.Tabs`` draws plain ``div``s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Component


class Tabs(Component):
    """One of several at a time; each is made when it is first looked at, and stays.

    Args:
        tabs: Title of each, and what makes its content.
    """

    titles = param.List(default=[], item_type=str)
    active = param.Integer(default=0, bounds=(0, None), doc="Which is shown.")
    badges = param.Dict(default={}, doc="Title -> a few words beside it, such as a number.")
    hidden = param.List(default=[], item_type=str, doc="Titles of tabs that are not offered; one that is open stays.")
    label = param.String(default="Views", doc="Their name to a screen reader.")
    contents = Children(doc="What has been made, in the order of `made`.")
    made = param.List(default=[], item_type=int, doc="Which tabs have their content.")

    _bundle = HERE / "tabs.js"
    _written = ("active",)

    def __init__(self, *tabs: tuple[str, Callable[[], Any]], **params: Any) -> None:
        self._makers = [make for _, make in tabs]
        super().__init__(titles=[title for title, _ in tabs], **params)

    @param.depends("active", watch=True, on_init=True)
    def _show(self) -> None:
        if self._makers and self.active < len(self._makers) and self.active not in self.made:
            made = self._makers[self.active]()
            self.param.update(contents=[*self.contents, made], made=[*self.made, self.active])
