"""All cards put together: the page, or the whole of it as one widget among others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.state.location import ADDRESS, TABS
from opsdash.views import rows
from opsdash.views.approvals import PendingApprovals
from opsdash.views.controls import SystemState
from opsdash.views.design import OpsDesign, line, stack
from opsdash.views.kit import Masthead, Tabs
from opsdash.views.operations_log import RecentOperations
from opsdash.views.other_operations import OtherOperations
from opsdash.views.queue_charts import QueueChart
from opsdash.views.queues import ClearedTasks, QueueTable
from opsdash.views.tenants import TenantDrift
from opsdash.views.view import View
from opsdash.views.workers import WorkerHealth

TITLES = {
    "overview": "Overview",
    "queues": "Queues",
    "workers": "Workers",
    "tenants": "Tenants",
    "operations": "Operations",
}
_HEADING = """<h1>System Operations</h1>
<div class="banner" role="note">Caution: Manual operations can affect system behavior</div>"""
"""Constant: nothing from outside is ever put into HTML."""


class Console(View):
    """The whole page as one thing among others.

    Args:
        whole: It has the browser window to itself: it writes the address, and single keys are its shortcuts.
    """

    whole = param.Boolean(default=False, constant=True)

    _tabs: Tabs | None = None

    def _build(self) -> Viewable:
        session, location = self._session, self._session.location
        if self.whole and pn.state.location is not None:
            pn.state.location.sync(location, ADDRESS)
        if location.queue and session.status.queue(location.queue) is not None:
            session.status.selected_queue = location.queue
        makers: dict[str, Callable[[], Viewable]] = {
            "overview": self._overview,
            "queues": self._queues,
            "workers": partial(self._view, WorkerHealth, selection=location.open_workers, find=location.workers),
            "tenants": partial(self._view, TenantDrift, detailed=True),
            "operations": self._operations,
        }
        self._tabs = Tabs(
            *((TITLES[name], makers[name]) for name in TABS), active=TABS.index(location.tab), theme=self.param.theme
        )
        self._tabs.param.watch(self._went, "active")
        location.param.watch(self._go, "tab")
        self._offer_tabs()
        body = stack(
            pn.pane.HTML(_HEADING, margin=0, design=OpsDesign, sizing_mode="stretch_width"),
            self._view(SystemState),
            self._tabs,
            styles={"gap": "12px", "padding": "14px clamp(14px, 2vw, 24px) 40px"},
        )
        return pn.Column(self._masthead(), body, margin=0, sizing_mode="stretch_width")

    @param.depends("status.tenants_card", watch=True)
    def _offer_tabs(self) -> None:
        if self._tabs is not None:
            self._tabs.hidden = [] if self.status.tenants_card.get("shown") else [TITLES["tenants"]]

    def _view(self, kind: type[View], **params: Any) -> View:
        return kind(session=self._session, theme=self.theme, **params)

    def _overview(self) -> Viewable:
        pair = line(
            self._view(QueueTable, styles={"flex": "2 1 640px", "min-width": "0"}),
            self._view(TenantDrift, styles={"flex": "1 1 320px", "min-width": "0"}),
            styles={"gap": "12px", "flex-wrap": "wrap", "align-items": "flex-start"},
        )
        return stack(
            self._view(PendingApprovals),
            pair,
            self._view(ClearedTasks),
            self._view(WorkerHealth, detailed=False),
            self._view(RecentOperations),
        )

    def _queues(self) -> Viewable:
        return stack(self._view(QueueTable), self._chart(), self._view(ClearedTasks))

    def _chart(self) -> View:
        location = self._session.location
        choice = {"span": location.span, "every": location.chart == "all", "log": location.scale == "log"}
        chart = QueueChart(session=self._session, theme=self.theme, **choice)

        def keep(*_events: object) -> None:
            location.param.update(span=chart.span, chart="all" if chart.every else "", scale="log" if chart.log else "")

        chart.param.watch(keep, list(choice))
        return chart

    def _operations(self) -> Viewable:
        return stack(
            self._view(PendingApprovals), self._view(RecentOperations, detailed=True), self._view(OtherOperations)
        )

    def _masthead(self) -> Viewable:
        settings, actor = self._session.console.settings, self._session.actor
        masthead = Masthead(
            environment=settings.environment or "",
            risk=rows.environment_risk(settings.environment or ""),
            where=settings.redis_label,
            who=f"{actor.name} · {self._session.role.name.lower()}",
            mode="development mode" if settings.auth == "dev" else "",
            read_at=self.status.read_at,
            theme=self.param.theme,
        )
        self.status.param.watch(lambda event: masthead.param.update(read_at=event.new), "read_at")
        return masthead

    def _went(self, event: param.parameterized.Event) -> None:
        self._session.location.tab = TABS[event.new]

    def _go(self, event: param.parameterized.Event) -> None:
        if self._tabs is not None:
            self._tabs.active = TABS.index(event.new)
