"""What a page says beside its figures: how an operation ended, how long work goes, and that it has lost its server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import param

from opsdash.views.components.base import HERE, Component

_MOST_UNDOS = 50


class Messages(Component):
    """Result messages that go by themselves, long work with a way to stop it, and the watchdog.

    A page whose server has gone would show frozen figures for ever: it says so, the ages of all tables stop, what needs
    Python is off, and it is loaded again once a server answers. A widget in a notebook says it of itself alone, with
    the time of its figures: so does its copy in a saved notebook, from the first moment.
    """

    work = param.Dict(default={}, doc="{text, at, of} of long work; empty: none.")
    beat = param.Number(default=0, doc="When Python last gave a sign of life; it changes at least every 3 s.")
    limit_ms = param.Integer(default=6500, bounds=(500, None), doc="Silence after which the page counts as not live.")
    shown_ms = param.Integer(
        default=3000, bounds=(0, None), doc="How long a message stays; with Undo three times that."
    )
    health = param.String(default="healthz", doc="Address that answers while a server is there, seen from the page.")
    reloads = param.Boolean(
        default=True, doc="The page is loaded again when its server is back. A notebook must not be."
    )
    embedded = param.Boolean(
        default=False, doc="Of one widget: messages are shown where this is, not in a corner of the window."
    )
    silence = param.String(doc="Why a widget may have no word from Python, as it says then.")
    stopped = param.Event(doc="Cancel was pressed.")

    _bundle = HERE / "messages.js"
    _written = ("stopped",)

    def __init__(self, **params: Any) -> None:
        self._undos: dict[int, Callable[[], Any]] = {}
        self._numbers = itertools.count(1)
        super().__init__(**params)

    def say(self, text: str, tone: str = "ok", *, undo: Callable[[], Any] | None = None) -> None:
        """Shows a message.

        Args:
            text: What it says.
            tone: ok, info, warn or bad; the last two are read out at once.
            undo: Is called, or awaited, when its Undo is pressed; without, there is no such button.
        """
        number = next(self._numbers)
        if undo is not None:
            self._undos[number] = undo
            for old in list(self._undos)[:-_MOST_UNDOS]:
                del self._undos[old]
        self._send_msg({"text": text, "tone": tone, "undo": number if undo is not None else 0})

    def _handle_msg(self, data: Any) -> None:
        number = data.get("undo") if isinstance(data, Mapping) else None
        undo = self._undos.pop(number, None) if isinstance(number, int) else None
        if undo is not None:
            pn.state.execute(undo, schedule=False)
