"""The Operations page, put together: who looks, what they see, and the HTML around it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn
from panel.io.resources import LOCAL_DIST, _env, patch_model_css
from panel.viewable import Viewer

from opsdash.capacity import Full
from opsdash.views import last_reading
from opsdash.views.components import ASSETS, Channel, ClosedDoor
from opsdash.views.identity import Closed, identify
from opsdash.views.open_pages import OpenPages, open_pages
from opsdash.views.page_requests import Desk, constants
from opsdash.views.session import Session

if TYPE_CHECKING:
    from bokeh.document import Document

    from opsdash.services.console import Console

log = logging.getLogger(__name__)

TITLE = "System Operations"
_TEMPLATE = _env.from_string((ASSETS / "page.html").read_text(encoding="utf-8"))


def operations_page(console: Console) -> Viewer | ClosedDoor:
    """The page for a request: the operations, or why the user may not see them."""
    try:
        return _operations_page(console)
    except Exception:
        # Panel would show its traceback to the client.
        log.exception("the page could not be made")
        return closed_page("The page could not be made", ["opsdash's log says why. The command line works."])


def _operations_page(console: Console) -> Viewer | ClosedDoor:
    answer = identify(console.settings)
    if isinstance(answer, Closed):
        return closed_page(answer.heading, answer.lines, answer.commands)
    pages = open_pages(console)
    if full := pages.enter(answer):
        return _too_many(full, pages)
    session = Session(console, answer, Channel(sizing_mode="stretch_width", margin=0))
    desk = Desk(session)
    session.channel.constants = constants(session)
    session.attach()
    _dress(last_reading.html_of(console))
    return desk


def _too_many(full: Full, pages: OpenPages) -> ClosedDoor:
    if full is Full.OWN:
        most = f"You have {pages.capacity.each:,} pages open already (OPSDASH_MAX_PAGES_EACH)."
        return closed_page("You have too many pages open", [most, "Close some of them, then reload this one."])
    most = "The limit of open pages for your role is reached (OPSDASH_MAX_PAGES)."
    return closed_page("Too many pages are open", [most, "Reload this one later. The command line works."])


def closed_page(heading: str, lines: Iterable[str], commands: str = "") -> ClosedDoor:
    """A page that shows nothing but why, and what to do."""
    _dress()
    return ClosedDoor(heading=heading, lines=list(lines), commands=commands, sizing_mode="stretch_width", margin=0)


def _dress(words: str = "") -> None:
    """Gives the document its title and our HTML around it: language, background, colours before the first paint.

    Args:
        words: The last reading as HTML, for who may see it.
    """
    doc = pn.state.curdoc
    if doc is None or doc.session_context is None:
        return
    doc.title = TITLE
    doc.template = _TEMPLATE
    doc.template_variables["last_reading"] = words
    doc.add_next_tick_callback(partial(_keep_styles_local, doc))


def _keep_styles_local(doc: Document) -> None:
    """Panel does this when it renders HTML; a session made again by its websocket would ask a CDN for its styles."""
    for root in doc.roots:
        patch_model_css(root, dist_url=LOCAL_DIST)


__all__: list[Any] = ["TITLE", "closed_page", "operations_page"]
