"""Whether the audit log is whole: when that was verified last here, and a button that does it now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.services.audit.verify import Verification
from opsdash.services.threads import SEARCHES
from opsdash.views.components import Card
from opsdash.views.design import button
from opsdash.views.view import View

if TYPE_CHECKING:
    from opsdash.services.console import Console

_verified: WeakKeyDictionary[Console, tuple[datetime, Verification]] = WeakKeyDictionary()
"""The last result in this process, for all its pages."""


class HashChain(View):
    """Says whether entries of the log were changed, removed, inserted or reordered, and how old that knowledge is."""

    _card: Card | None = None

    def _build(self) -> Viewable:
        self._busy = False
        self._button = button("Verify", on_click=self._verify)
        self._card = Card(title="Hash chain", actions=[self._button] if self.actions else [], theme=self.param.theme)
        self._show()
        return self._card

    async def _verify(self, _event: object) -> None:
        audit = self._session.console.audit
        async with self._session.turn("verify") as mine:
            if not mine:
                return
            self._busy = True
            self._session.later(self._show)
            try:
                found = await SEARCHES.run(audit.verify, caller=self._session.caller)
                _verified[self._session.console] = (datetime.now(UTC), found)
            except OpsdashError as error:
                self._session.say(error.explanation, "bad")
            finally:
                self._busy = False
                self._session.later(self._show)

    @param.depends("status.updated_at", watch=True)
    def _show(self) -> None:
        if self._card is None:
            return
        self._button.disabled = self._busy
        known = _verified.get(self._session.console)
        now = self.status.updated_at or datetime.now(UTC)
        lines = [["mute", "Verifying …"]] if self._busy else told(known, now)
        if lines != self._card.lines:
            self._card.lines = lines


def told(known: tuple[datetime, Verification] | None, now: datetime) -> list[list[str]]:
    """The result and its age as lines of a card: in whole minutes, so that it changes no more often."""
    if known is None:
        return [["none", "Not verified since this console started."]]
    at, found = known
    minutes = max(0, int((now - at).total_seconds() // 60))
    hours = f"{minutes // 60:,} h " if minutes >= 60 else ""
    age = f"{hours}{minutes % 60} min ago" if minutes else "just now"
    lines = [["ok" if found.ok else "bad", found.message], ["mute", f"Verified {age}, at {at:%H:%M:%S} UTC."]]
    return [*lines, *(["bad", problem] for problem in found.problems)]
