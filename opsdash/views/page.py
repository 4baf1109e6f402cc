"""The Operations page: who looks, what they see, and the HTML around it."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import panel as pn
from panel.io.resources import JS_VERSION, LOCAL_DIST, _env
from panel.viewable import Viewable

from opsdash.capacity import Full
from opsdash.views import address, last_reading
from opsdash.views.components import Card, Component, Dialog, KeyedTable, Masthead, Messages, StatusStrip, Tabs
from opsdash.views.components.panel_private import addresses
from opsdash.views.console_page import Console
from opsdash.views.design import OpsDesign, stack
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.identity import Closed, identify
from opsdash.views.open_pages import OpenPages, open_pages
from opsdash.views.session import Session
from opsdash.views.view import closed_card

if TYPE_CHECKING:
    from opsdash.services.console import Console as Service

log = logging.getLogger(__name__)

TITLE = "System Operations"
EARLY = (Component, Masthead, StatusStrip, KeyedTable, Card, Tabs, Dialog, Messages)
"""What every page needs: asked for while the words are read, before the first of them is made."""
ASSETS = Path(__file__).parent / "assets"
_TEMPLATE = _env.from_string(
    (ASSETS / "page.html").read_text(encoding="utf-8"),
    globals={"page_script": (ASSETS / "page.js").read_text(encoding="utf-8")},
)


def operations_page(console: Service) -> Viewable:
    """The page for a request: the operations, or why the user may not see them."""
    try:
        return _operations_page(console)
    except Exception:
        # Panel would show its traceback to the client.
        log.exception("the page could not be made")
        return closed_page(
            Closed(heading="The page could not be made", lines=("opsdash's log says why. The command line works.",))
        )


def _operations_page(console: Service) -> Viewable:
    actor = identify(console.settings)
    if isinstance(actor, Closed):
        return closed_page(actor)
    pages = open_pages(console)
    if full := pages.enter(actor):
        return closed_page(_too_many(full, pages))
    session = Session(console, actor)
    session.attach()
    address.follow(session.location)
    _dress(last_reading.html_of(console))
    whole = pn.Column(margin=0, sizing_mode="stretch_width")
    # The HTML goes out with the last reading in words. What follows is made while the browser loads the scripts.
    session.one_by_one([partial(_fill, whole, session)])
    return whole


def _fill(whole: pn.Column, session: Session) -> None:
    session.dialog = ConfirmationDialog(session, keeps=True)
    page = Console(session=session, whole=True)
    whole.append(page)
    session.one_by_one([partial(whole.extend, [session.dialog, session.messages])])


def _too_many(full: Full, pages: OpenPages) -> Closed:
    if full is Full.OWN:
        most = f"You have {pages.capacity.each:,} pages open already (OPSDASH_MAX_PAGES_EACH)."
        return Closed(heading="You have too many pages open", lines=(most, "Close some of them, then reload this one."))
    most = "The limit of open pages for your role is reached (OPSDASH_MAX_PAGES)."
    return Closed(heading="Too many pages are open", lines=(most, "Reload this one later. The command line works."))


def closed_page(why: Closed) -> Viewable:
    """A page that shows nothing but why, and what to do."""
    _dress()
    heading = pn.pane.HTML(f"<h1>{TITLE}</h1>", margin=0, design=OpsDesign, sizing_mode="stretch_width")
    return stack(heading, closed_card(why), styles={"gap": "12px", "padding": "14px clamp(14px, 2vw, 24px) 40px"})


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
    doc.template_variables.update(
        early=[*addresses(*EARLY), ("style", OpsDesign.address())] if words else [], panel_version=JS_VERSION
    )
    # Panel says so when it renders HTML; a session made again by its websocket would ask a CDN for its styles.
    doc.template_variables["dist_url"] = LOCAL_DIST
