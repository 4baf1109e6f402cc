"""The open pages: a limit for each user, and places reserved for users who may operate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import panel as pn

from opsdash.capacity import Capacity, Full
from opsdash.config.settings import Settings
from opsdash.model import Actor

if TYPE_CHECKING:
    from opsdash.services.console import Console

_known: WeakKeyDictionary[Console, OpenPages] = WeakKeyDictionary()


def open_pages(console: Console) -> OpenPages:
    """A console's; the same at each call."""
    if console not in _known:
        _known[console] = OpenPages(console.settings)
    return _known[console]


class OpenPages:
    """Each browser session has a place, from the page's first request until it is discarded.

    Args:
        settings: How many there are.
    """

    def __init__(self, settings: Settings) -> None:
        alone = settings.auth == "dev"  # one user, on one machine
        each = settings.max_pages if alone else settings.max_pages_each
        self.capacity = Capacity(settings.max_pages, each)
        self._holders: dict[Any, str] = {}

    def enter(self, actor: Actor) -> Full | None:
        """Takes a place for the session that is being made; None when there was one, or it is no browser's.

        A user who has too many gives up first those that wait for a browser: reloading often shuts nobody out.
        """
        context = pn.state.curdoc.session_context if pn.state.curdoc else None
        if context is None:
            return None
        full = self.capacity.take(actor.role, actor.name)
        if full is Full.OWN and self._give_up_waiting(actor.name):
            full = self.capacity.take(actor.role, actor.name)
        if full is None:
            self._holders[context] = actor.name
            pn.state.on_session_destroyed(self._leave)
        return full

    def _give_up_waiting(self, name: str) -> bool:
        """Ends the oldest session of this user that has no browser: one that comes late has it made again."""
        for context, holder in self._holders.items():
            session = getattr(context, "session", None)
            if holder == name and session is not None and not session.connection_count:
                session.request_expiration()
                self._leave(context)
                return True
        return False

    def _leave(self, context: Any) -> None:
        holder = self._holders.pop(context, None)
        if holder is not None:
            self.capacity.leave(holder)
