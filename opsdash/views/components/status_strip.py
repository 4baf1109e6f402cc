"""What goes on, at a glance: the state in a word, why, until when, what can be done; and figures with their past."""

from __future__ import annotations

import param
from panel.viewable import Children

from opsdash.views.components.base import HERE, Component
from opsdash.views.components.shared import Figures, SharedFigures

WORDS = ["RUNNING", "PARTLY PAUSED", "PAUSED", "DEGRADED", "UNKNOWN"]


class StatusStrip(Component):
    """The state in a word and a sentence, its causes as chips, and figures with a small line each.

    Its acts are beside the word and stay there, whatever the word is.
    """

    word: param.Selector[str] = param.Selector(default="UNKNOWN", objects=WORDS)
    heard = param.String(doc="What a screen reader hears when the word has become another.")
    tone: param.Selector[str] = param.Selector(default="none", objects=["ok", "warn", "bad", "info", "none"])
    story = param.String(doc="Who paused and since when, or what needs a look.")
    reason = param.String(doc="Why it is paused, as a user wrote it.")
    chips = param.List(default=[], item_type=list, doc="[[tone, text, help], …]: the causes, such as a paused queue.")
    now = param.Number(default=0, doc="The server's clock in seconds; 0: the browser's.")
    until = param.Number(
        default=0, doc="When it resumes by itself, in seconds since 1970; 0: not at all. Counted down."
    )
    verdict = param.List(
        default=[], item_type=str, doc="[tone, text]: how far a pause has come, or what was done last; empty: nothing."
    )
    notices = param.List(default=[], item_type=str, doc="What is not fresh, a sentence each.")
    stale = param.Boolean(default=False, doc="The figures are old: they are grey, and nothing counts down.")
    of = param.Integer(default=0, doc="Workers that are to stop; 0 without a pause.")
    stopped = param.Integer(default=0, doc="How many of them have.")
    labels = param.Dict(default={}, doc="Figure -> what it is called, in their order.")
    figures = SharedFigures(
        default=Figures(), doc="Figure -> [number, unit] or [number, unit, tone]: text; what is not known is not there."
    )
    sparks = SharedFigures(default=Figures(), doc="Figure -> what `sparkline` makes of its points; None: nothing yet.")
    titled = param.Boolean(default=False, doc="The browser's title says the word, too, unless it is RUNNING.")

    actions = Children(doc="What can be done about the state.")

    _bundle = HERE / "status_strip.js"
