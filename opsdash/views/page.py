"""The Operations page, put together from its parts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui
from panel.io.resources import LOCAL_DIST, patch_model_css
from panel.util.parameters import edit_readonly
from panel.viewable import Viewer
from panel_material_ui.template.base import Page

from opsdash.model import Actor
from opsdash.views import rows
from opsdash.views.components import ClosedDoor, Masthead, Overview
from opsdash.views.confirmation import ConfirmationDialog
from opsdash.views.controls import OperationControls
from opsdash.views.identity import Closed, identify
from opsdash.views.session import Session
from opsdash.views.tables import ClearedTasks, RecentOperations, WorkerHealth
from opsdash.views.theme import THEME

if TYPE_CHECKING:
    from bokeh.document import Document

    from opsdash.services.console import Console

TITLE = "System Operations"


class StatusOverview(Viewer):
    """Title, caution, what is stale, and the strip with the processing status."""

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self._status = session.status
        self._overview = Overview(heading=TITLE, sizing_mode="stretch_width", margin=0)
        self._status.param.watch(self._follow, ["updated_at", "stalled_s", "selected_queue", "pending_tasks"])
        self._follow()

    def __panel__(self) -> Overview:
        return self._overview

    def _follow(self, *_events: Any) -> None:
        status = self._status
        self._overview.param.update(
            status=f"Processing Status: {status.processing_status}",
            tone=rows.status_tone(status),
            why=f"“{status.pause_reason}”" if status.pause_reason else "",
            story=rows.pause_story(status),
            figures=rows.figures(status),
            notices=list(status.stale),
            stale=status.redis_stale,
        )


def operations_page(console: Console) -> Page:
    """The page for whoever asks: the operations, or why they may not see them."""
    answer = identify(console.settings)
    if isinstance(answer, Closed):
        return closed_page(answer.heading, answer.lines, answer.commands)
    session = Session(console, answer)
    dialog = ConfirmationDialog(session)
    cleared = ClearedTasks(session, dialog)
    parts = [
        StatusOverview(session),
        OperationControls(session, dialog),
        cleared,
        WorkerHealth(session),
        RecentOperations(session, cleared),
    ]
    page = _shell([*parts, dialog, session.signals], _masthead(console, answer))
    session.attach()
    return page


def closed_page(heading: str, lines: Iterable[str], commands: str = "") -> Page:
    """A page that shows nothing but why, and what to do."""
    door = ClosedDoor(heading=heading, lines=list(lines), commands=commands, sizing_mode="stretch_width")
    return _shell([door], Masthead(sizing_mode="stretch_width", margin=0))


def _masthead(console: Console, actor: Actor) -> Masthead:
    role = actor.role.name.lower() if actor.role else ""
    return Masthead(
        environment=console.settings.environment or "",
        where=console.settings.redis_label,
        who=f"{actor.name} · {role}",
        mode="development mode" if console.settings.auth == "dev" else "",
        sizing_mode="stretch_width",
        margin=0,
    )


def _shell(parts: list[Any], masthead: Masthead) -> Page:
    column = pmui.Column(
        *parts,
        sizing_mode="stretch_width",
        margin=0,
        theme_config=THEME,  # on the page and here: a notebook shows the column alone
        sx={"padding": {"xs": "12px 16px", "sm": "16px 24px"}, "gap": "12px"},
    )
    page = Page(
        meta_title=TITLE,
        main=[column],
        header=[masthead],
        theme_config=THEME,
        sx={"& .main": {"backgroundColor": "background.default"}},
        sizing_mode="stretch_width",
    )
    # The page follows the process-wide busy flag by a watcher that keeps every closed session alive; following one of
    # its own parameters instead replaces that reference. The theme hides the indicator.
    with edit_readonly(page):
        page.busy = page.param.contextbar_open
    doc = pn.state.curdoc
    if doc is not None and doc.session_context is not None:
        doc.add_next_tick_callback(partial(_keep_styles_local, doc))
    return page


def _keep_styles_local(doc: Document) -> None:
    """Panel does this when it renders HTML; a session made again by its websocket would ask a CDN for its styles."""
    for root in doc.roots:
        patch_model_css(root, dist_url=LOCAL_DIST)
