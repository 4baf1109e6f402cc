"""All cards put together: the page, or the whole of it as one widget among others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.model.hold import TENANT_KEY
from opsdash.operations import PauseProcessing
from opsdash.state.location import TABS
from opsdash.views import address, rows, shortcuts
from opsdash.views.approvals import PendingApprovals
from opsdash.views.components import Masthead, Tabs
from opsdash.views.concurrency_limits import ConcurrencyLimits
from opsdash.views.controls import SystemState
from opsdash.views.design import OpsDesign, line, stack
from opsdash.views.failures import Failures
from opsdash.views.holds import Holds
from opsdash.views.operations_log import RecentOperations
from opsdash.views.other_operations import OtherOperations
from opsdash.views.peers import OtherDeployments
from opsdash.views.queue_charts import QueueChart
from opsdash.views.queues import ClearedTasks, QueueTable
from opsdash.views.rate_limits import RateLimits
from opsdash.views.runs import Runs
from opsdash.views.schedules import Schedules
from opsdash.views.tasks import Tasks
from opsdash.views.tenant_tasks import TasksByTenant
from opsdash.views.tenants import TenantDrift
from opsdash.views.view import View
from opsdash.views.workers import WorkerHealth

TITLES = {
    "overview": "Overview",
    "queues": "Queues",
    "workers": "Workers",
    "tenants": "Tenants",
    "operations": "Operations",
    "failures": "Failures",
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
    _linked = False

    def _build(self) -> Viewable:
        if self.whole and self._alone:  # the page has done it already
            address.follow(self._session.location)
        self.status.param.watch(self._chose_queue, ["selected_queue", "queues"])
        self._chose_queue()
        page = pn.Column(margin=0, sizing_mode="stretch_width")
        body = stack(
            pn.pane.HTML(_HEADING, margin=0, design=OpsDesign, sizing_mode="stretch_width"),
            styles={"gap": "12px", "padding": "14px clamp(14px, 2vw, 24px) 40px"},
        )
        self._add(page, self._masthead, lambda: body)
        self._add(body, partial(self._view, SystemState), self._views)
        return page

    def _views(self) -> Viewable:
        location = self._session.location
        makers: dict[str, Callable[[], Viewable]] = {
            "overview": self._overview,
            "queues": self._queues,
            "workers": self._workers,
            "tenants": self._tenants,
            "operations": self._operations,
            "failures": self._failures,
        }
        self._tabs = Tabs(
            *((TITLES[name], makers[name]) for name in TABS), active=TABS.index(location.tab), theme=self.param.theme
        )
        self._tabs.param.watch(self._went, "active")
        location.param.watch(self._go, "tab")
        self._offer_tabs()
        self._count_failures()
        if self._session.may(PauseProcessing):  # what must not wait at three in the morning
            self._session.one_by_one([partial(self._dialog.prepare, PauseProcessing())])
        return self._tabs

    @param.depends("status.tenants_card", "status.holds", watch=True)
    def _offer_tabs(self) -> None:
        if self._tabs is not None:
            named = self._session.console.settings.tenant_key != TENANT_KEY
            held = any(one.hold.kind == "tenant" for one in self.status.holds)
            shown = self.status.tenants_card.get("shown") or named or held
            self._tabs.hidden = [] if shown else [TITLES["tenants"]]

    @param.depends("status.failures_card", watch=True)
    def _count_failures(self) -> None:
        if self._tabs is not None:
            total = self.status.failures_card.get("total")
            self._tabs.badges = {TITLES["failures"]: f"{total:,}"} if total else {}

    def _view(self, kind: type[View], **params: Any) -> View:
        return kind(session=self._session, theme=self.theme, **params)

    def _overview(self) -> Viewable:
        pair = line(styles={"gap": "12px", "flex-wrap": "wrap", "align-items": "flex-start"})
        self._add(
            pair,
            partial(self._view, QueueTable, styles={"flex": "2 1 640px", "min-width": "0"}),
            partial(self._view, TenantDrift, styles={"flex": "1 1 320px", "min-width": "0"}),
        )
        others = [partial(self._view, OtherDeployments)] if self._session.console.settings.peers else []
        page = stack(pair)
        self._seldom(page, PendingApprovals, "approval_rows", Viewable)
        return self._add(
            page,
            *others,
            partial(self._seldom, page, ClearedTasks, "trash_rows", WorkerHealth),
            partial(self._view, WorkerHealth, detailed=False),
            partial(self._view, RecentOperations),
        )

    def _queues(self) -> Viewable:
        page = stack()
        return self._add(
            page,
            partial(self._view, QueueTable),
            partial(self._view, Holds),
            partial(self._view, Tasks),
            self._chart,
            partial(self._view, Schedules),
            partial(self._seldom, page, ClearedTasks, "trash_rows"),
        )

    def _chart(self) -> View:
        location = self._session.location
        choice = {"span": location.span, "every": location.chart == "all", "log": location.scale == "log"}
        chart = QueueChart(session=self._session, theme=self.theme, **choice)

        def keep(*_events: object) -> None:
            location.param.update(span=chart.span, chart="all" if chart.every else "", scale="log" if chart.log else "")

        chart.param.watch(keep, list(choice))
        return chart

    def _workers(self) -> Viewable:
        location = self._session.location
        view = self._view(WorkerHealth, selection=location.open_workers, find=location.workers)
        view.param.watch(lambda event: setattr(location, "workers", event.new), "find")
        view.param.watch(lambda event: setattr(location, "open_workers", event.new), "selection")
        return self._add(stack(view), partial(self._view, RateLimits), partial(self._view, ConcurrencyLimits))

    def _tenants(self) -> Viewable:
        return self._add(stack(), partial(self._view, TasksByTenant), partial(self._view, TenantDrift, detailed=True))

    def _failures(self) -> Viewable:
        location = self._session.location
        view = self._view(Failures, selection=location.open_failures, find=location.failures)
        view.param.watch(lambda event: setattr(location, "failures", event.new), "find")
        view.param.watch(lambda event: setattr(location, "open_failures", event.new), "selection")
        return view

    def _operations(self) -> Viewable:
        page = stack()
        self._seldom(page, PendingApprovals, "approval_rows", Viewable)
        return self._add(
            page,
            partial(self._view, RecentOperations, detailed=True),
            partial(self._view, Runs),
            partial(self._view, OtherOperations),
        )

    def _seldom(self, layout: pn.Column, kind: type[View], rows: str, *below: type) -> None:
        """Puts a card above those below it once there are rows for it: most pages never have any, and save it.

        Args:
            rows: Of the status.
        """

        def put() -> None:
            places = (at for at, card in enumerate(layout) if isinstance(card, below))
            layout.insert(next(places, len(layout)), self._view(kind))

        def come(_event: object) -> None:
            if getattr(self.status, rows):
                self.status.param.unwatch(waits)
                self._session.one_by_one([put])

        if getattr(self.status, rows):
            put()
        else:
            waits = self.status.param.watch(come, rows)

    def _add(self, layout: pn.Column | pn.Row, *cards: Callable[[], Viewable | None]) -> pn.Column | pn.Row:
        """Puts cards into a layout one by one: each is some 20 ms of work. One that is None has put itself there."""

        def put(card: Callable[[], Viewable | None]) -> None:
            made = card()
            if made is not None:
                layout.append(made)

        self._session.one_by_one(partial(put, card) for card in cards)
        return layout

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
        if self.whole:
            shortcuts.offer(masthead, self._session, [TITLES[name] for name in TABS])
        self.status.param.watch(lambda event: setattr(masthead, "read_at", event.new), "read_at")
        return masthead

    def _chose_queue(self, *_events: object) -> None:
        """A link's queue is chosen once it is known to exist; then the address says which one is."""
        status, location = self.status, self._session.location
        if not status.queues:
            return
        if not self._linked:
            self._linked = True
            if status.queue(location.queue) is not None:
                status.selected_queue = location.queue
        if location.queue or status.selected_queue != status.queues[0].name:
            location.queue = status.selected_queue

    def _went(self, event: param.parameterized.Event) -> None:
        if event.new < len(TABS):  # it is the browser's word
            self._session.location.tab = TABS[event.new]

    def _go(self, event: param.parameterized.Event) -> None:
        if self._tabs is not None:
            self._tabs.active = TABS.index(event.new)
