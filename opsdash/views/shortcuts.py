"""Single keys of the page, and the list that says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import panel as pn

from opsdash.views.components import Masthead
from opsdash.views.design import OpsDesign
from opsdash.views.tasks import FIELD

if TYPE_CHECKING:
    from opsdash.views.session import Session

SHORTCUTS = (
    ("1 to 6", "Go to a tab"),
    ("p", "Pause or resume processing"),
    ("r", "Read the figures now"),
    ("/", "Filter or search"),
    ("d", "Dark or light"),
    ("?", "This list"),
    ("Esc", "Close a dialog; nothing is changed"),
    ("Enter", "Confirm, once YES is typed"),
)
REFRESH = "r"
KEYS: dict[str, list[str]] = {
    "p": ["Pause Processing", "Resume Processing"],
    REFRESH: [],
    "/": ["Id, name or argument", "Search in the details", "Filter workers", "Filter failures", FIELD, "Queues"],
    "d": ["Toggle theme"],
    "?": ["Keyboard shortcuts"],
}


def offer(masthead: Masthead, session: Session, tabs: list[str]) -> None:
    """Lets single keys do what their buttons do; the masthead's help lists them, and switches them off."""
    masthead.param.update(keys={**KEYS, **{str(at): [tab] for at, tab in enumerate(tabs, 1)}}, has_help=True)

    async def refresh(_key: str) -> None:
        await session.refresh()

    def explain(_event: object) -> None:
        label = "Single keys work as shortcuts"
        chosen = pn.widgets.CheckBoxGroup(
            options=[label], value=[label] if masthead.keys_work else [], margin=0, design=OpsDesign
        )
        chosen.param.watch(lambda event: masthead.param.update(keys_work=bool(event.new)), "value")
        session.dialog.tell("Keyboard shortcuts", SHORTCUTS, chosen)

    masthead.on_key(refresh)
    masthead.param.watch(explain, "help")
