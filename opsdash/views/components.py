"""opsdash's own browser components: few and large, because each component costs time and memory in every session.

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

ASSETS = Path(__file__).parent / "assets"


def _joined(*names: str) -> str:
    """Several asset files as one: scripts and styles are kept in parts that one can hold in the head."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


SCRIPTS = (
    "kit.js",
    "theme.js",
    "table.js",
    "strip.js",
    "sections.js",
    "workers.js",
    "tenants.js",
    "log.js",
    "peek.js",
    "masthead.js",
    "signals.js",
    "dialog.js",
    "page.js",
)
STYLES = ("tokens.css", "base.css", "strip.css", "cards.css", "dialog.css", "embedded.css")


class Channel(JSComponent):
    """The whole page: strip, cards, dialogs, messages and watchdog in one component.

    Measured: each further component costs a session 7 ms of a blocked event loop and its share of HTML. What changes
    goes out as messages, JSON that was written once for all pages; ``state`` is where a page begins.
    """

    state = param.String(default="{}", doc="JSON of the page state when this page was opened.")
    seq = param.Integer(default=0, doc="Number of that state; every patch names the number that it follows.")
    constants = param.String(default="{}", doc="JSON of constant values: environment, user, choices of filters.")
    whole = param.Boolean(default=True, doc="It has the browser window: it may set the address and handle keys.")
    theme: param.Selector[str] = param.Selector(
        default="auto", objects=["auto", "light", "dark"], doc="Auto: remembered, or as the surrounding page."
    )
    chart = Child(doc="The charts, once they are opened.")
    limit_ms = param.Integer(default=6500, doc="Time without a message after which the page counts as not live.")
    shown_ms = param.Integer(default=3000, doc="How long a result message stays.")

    _esm = _joined(*SCRIPTS)
    _stylesheets = [_joined(*STYLES)]  # noqa: RUF012 - Panel's own convention

    # Not a parameter: Param would run a coroutine function that is assigned to one.
    on_message: Callable[[dict[str, Any]], Awaitable[None]] | None = None

    async def _handle_msg(self, data: Any) -> None:  # type: ignore[override] # Panel awaits coroutines here too
        if isinstance(data, dict) and self.on_message is not None:
            await self.on_message(data)

    def tell(self, kind: str, **fields: Any) -> None:
        """Sends one message to the browser."""
        self._send_msg({"type": kind, **fields})


class ClosedDoor(JSComponent):
    """The page for a user without access: what is wrong and what to do."""

    heading = param.String()
    lines = param.List(item_type=str)
    commands = param.String()

    _esm = _joined("notice.js")
    _stylesheets = [_joined("tokens.css", "base.css", "notice.css")]  # noqa: RUF012 - Panel's own convention
