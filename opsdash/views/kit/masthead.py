"""The line that says where one is."""

from __future__ import annotations

import param

from opsdash.views.kit.base import HERE, Component


class Masthead(Component):
    """Deployment, visitor, age of the figures, and the switch between light and dark."""

    environment = param.String(doc="Its name, as the settings have it.")
    risk: param.Selector[str] = param.Selector(default="none", objects=["high", "medium", "low", "none"])
    where = param.String(doc="Which broker.")
    who = param.String(doc="Who looks, with which role.")
    mode = param.String(doc="What is not as it should be in production.")
    read_at = param.Number(default=0, doc="When the figures were read, in seconds since 1970; 0: not yet.")
    show_clock = param.Boolean(default=True, doc="It says when the figures were read, and the local time in a tooltip.")
    has_help = param.Boolean(default=False, doc="It has a button for the keyboard shortcuts, `help`.")
    help = param.Event(doc="Keyboard shortcuts were asked for.")
    dark = param.Boolean(default=False, doc="The page is dark: the browser's own word.")

    _bundle = HERE / "masthead.js"
