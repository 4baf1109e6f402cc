"""opsdash's own browser components: few and large, because each costs every session about 7 ms.

They show text that other people wrote (queue names, reasons, hostnames), so their scripts write ``textContent`` and
never HTML. What they may do is decided elsewhere: they hold no rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import param
from panel.custom import JSComponent
from panel.viewable import Child

NOT_KNOWN = "\N{EN DASH}"
"""Stands where a figure would: it has not been read yet."""

ASSETS = Path(__file__).parent / "assets"
_BASE = (ASSETS / "base.css").read_text(encoding="utf-8")


def _styles(name: str) -> list[str]:
    return [_BASE, (ASSETS / f"{name}.css").read_text(encoding="utf-8")]


class LiveTable(JSComponent):
    """A card with a heading, at most one button, and a keyed table: only changed cells touch the DOM."""

    heading = param.String(doc="The card's h2, and the table's accessible name.")
    columns = param.List(item_type=dict, doc="``{field, title, kind}``; kind is text, right, number, state or acts.")
    rows = param.List(item_type=dict, doc="Values by field; a state is ``[tone, word, remark]``.")
    key = param.String(default="key", doc="Field that identifies a row from one update to the next.")
    details = param.String(default="", doc="Field whose text an expanded row shows; empty: rows don't expand.")
    note = param.String(default="", doc="Short text at the right of the heading.")
    empty = param.String(default="", doc="Shown under the rows, in place of them when there is none; empty: nothing.")
    action = param.String(default="", doc="Label of the card's button; empty: none.")

    _esm = ASSETS / "table.js"
    _stylesheets = _styles("table")

    # Not a parameter: Param would run a coroutine function that is assigned to one.
    def __init__(
        self,
        on_action: Callable[[], Awaitable[None]] | None = None,
        on_row: Callable[[str, str], Awaitable[None]] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self._on_action, self._on_row = on_action, on_row

    async def _handle_msg(self, data: Any) -> None:  # type: ignore[override] # Panel awaits coroutines here too
        if isinstance(data, dict) and data.get("type") == "row" and self._on_row is not None:
            await self._on_row(str(data.get("key")), str(data.get("name")))
            return
        if not (isinstance(data, dict) and data.get("type") == "action" and self._on_action is not None):
            return
        try:
            await self._on_action()
        finally:
            self._send_msg({"type": "ready"})

    def download(self, name: str, pieces: list[str]) -> None:
        """Gives the browser a text file to save, over the session's own connection."""
        for piece in pieces:
            self._send_msg({"type": "piece", "text": piece})
        self._send_msg({"type": "file", "name": name})


class Overview(JSComponent):
    """The top of the page: title, caution, what is stale, and the status strip."""

    heading = param.String(default="System Operations")
    caution = param.String(default="Caution: Manual operations can affect system behavior")
    notices = param.List(item_type=str, doc="What is wrong or old, one sentence each.")
    stale = param.Boolean(default=False, doc="The strip's figures are old: they step back.")
    status = param.String(doc="``Processing Status: RUNNING``")
    tone = param.String(default="none", doc="ok, warn or none.")
    why = param.String(doc="The reason somebody gave.")
    story = param.String(doc="Who, since when, until when.")
    figures = param.List(item_type=list, doc="``[label, value, unit]``, five of them.")

    _esm = ASSETS / "overview.js"
    _stylesheets = _styles("overview")


class ControlDeck(JSComponent):
    """Three cards: worker control, queue operations, tenant configuration. The buttons are its children."""

    pause = Child()
    resume = Child()
    pause_queue = Child()
    resume_queue = Child()
    clear = Child()
    sync = Child()
    queues = param.List(item_type=list, doc="``[name, waiting, paused]``, the selector's rows.")
    selected = param.String(default="", doc="The chosen queue.")
    tenants = param.String(default=NOT_KNOWN)
    tenants_unit = param.String(default="tenants")
    note = param.String(default="", doc="Why this user can't act; empty when they can.")

    _esm = ASSETS / "controls.js"
    _stylesheets = _styles("controls")


class Signals(JSComponent):
    """Result messages (role alert) and the watchdog that says when the page is no longer live."""

    beat = param.Integer(default=0, doc="Bumped while the server lives.")
    limit_ms = param.Integer(default=6500, doc="Silence after which the page counts as not live.")
    shown_ms = param.Integer(default=3000, doc="How long a result message stays.")

    _esm = ASSETS / "signals.js"
    _stylesheets = _styles("signals")

    # Not a parameter: Param would run a coroutine function that is assigned to one.
    on_undo: Callable[[str], Awaitable[None]] | None = None
    on_cancel: Callable[[], None] | None = None

    def say(self, text: str, tone: str, undo: str = "") -> None:
        """Shows one message for `shown_ms`. ``tone`` is ok, bad or warn; ``undo``: what its Undo button hands over."""
        self._send_msg({"type": "say", "text": text, "tone": tone, "undo": undo})

    def progress(self, text: str, at: int | None = None, of: int | None = None) -> None:
        """Shows how far long work has come, with a Cancel button, until it is told an empty text."""
        self._send_msg({"type": "progress", "text": text, "at": at, "of": of})

    async def _handle_msg(self, data: Any) -> None:  # type: ignore[override] # Panel awaits coroutines here too
        if not isinstance(data, dict):
            return
        if data.get("type") == "undo" and self.on_undo is not None:
            await self.on_undo(str(data.get("undo")))
        if data.get("type") == "cancel" and self.on_cancel is not None:
            self.on_cancel()


class Explanation(JSComponent):
    """What the dialog says and asks before it asks for YES: warning, preview, and the operation's fields."""

    warning = param.String()
    lines = param.List(item_type=str)
    fields = param.List(item_type=dict, doc="``{name, label, kind, placeholder}``; kind is text or flag.")
    values = param.Dict(default={}, doc="What was filled in, by the field's name, once a field is left.")
    problem = param.String(doc="Why that can't be taken; empty when it can.")

    _esm = ASSETS / "explanation.js"
    _stylesheets = _styles("explanation")


class Masthead(JSComponent):
    """Which deployment this is, and who is looking."""

    environment = param.String()
    where = param.String()
    who = param.String()
    mode = param.String()

    _esm = ASSETS / "masthead.js"
    _stylesheets = _styles("masthead")


class ClosedDoor(JSComponent):
    """The page for somebody who may not see the page: what is wrong and what to do."""

    heading = param.String()
    lines = param.List(item_type=str)
    commands = param.String()

    _esm = ASSETS / "notice.js"
    _stylesheets = _styles("notice")
