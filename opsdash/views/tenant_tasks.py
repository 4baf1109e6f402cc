"""How many tasks each tenant has, and what may be done to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.model import Effect, HeldTasks, Hold, TenantsRead, TenantTasks
from opsdash.operations import ClearTenant, HoldTenant, ReleaseTenant
from opsdash.services.threads import FINDS
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button
from opsdash.views.rows import May, Row, act, known
from opsdash.views.view import View

EVERY_S = 15.0
"""While someone looks, it is read again so often, once for all pages of a console."""
TAB = "tenants"
COLUMNS = [
    {"field": "name", "title": "Tenant", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 2},
    {"field": "waiting", "title": "Waiting", "kind": "number", "about": "waiting_about", "priority": 1},
    {"field": "running", "title": "Running", "kind": "number", "priority": 2},
    {"field": "failed", "title": "Failed", "kind": "number", "about": "failed_about", "priority": 2},
    {"field": "held", "title": "Held", "kind": "number", "about": "held_about", "priority": 1},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class TasksByTenant(View):
    """Waiting, running, failed and held tasks of each tenant. It is read only while someone looks at it."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._read = TenantsRead()
        begin = button("Hold Tenant", "pause", on_click=self._dialog.asks(HoldTenant))
        begin.disabled = not self._session.may(HoldTenant)
        self._table = KeyedTable(
            title="Tasks by tenant",
            actions=[begin] if self.actions else [],
            columns=self.shown_columns(COLUMNS),
            empty="Not read yet.",
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._dialog.on_effect(self._acted)
        if not self._alone:
            self._session.location.param.watch(lambda _event: self._read_soon(), "tab")
        self._read_soon()
        return self._table

    @param.depends("columns", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(COLUMNS)

    @param.depends("status.read_at", watch=True)
    def _read_soon(self) -> None:
        if self._table is not None and (self._alone or self._session.location.tab == TAB):
            self._session.later(self._look)

    async def _look(self, max_age_s: float = EVERY_S) -> None:
        async with self._session.turn("tenants") as mine:
            if not mine or self._table is None:
                return  # a newer one waits already
            look = self._session.console.tenant_tasks
            try:
                read = look.latest(max_age_s)
                if read is None:
                    read = await FINDS.run(lambda: look.read(max_age_s), caller=self._session.caller)
            except OpsdashError:
                return  # what is shown stays; the page says that Redis does not answer
            self._read = read
            self._show()

    @param.depends("status.holds", watch=True)
    def _show(self) -> None:
        if self._table is None or self._read.read_at is None:
            return
        rows = tenant_rows(self._read, self.status.holds, self._session.may)
        set_changed(
            self._table,
            rows=list(rows.values()),
            empty=f"No task names a tenant by {self._read.key}, and no tenant is held.",
            note=" ".join([f"Read at {self._read.read_at:%H:%M:%S} UTC.", *self._read.sentences]),
        )

    def _acted(self, _effect: Effect) -> None:
        if self._alone or self._session.location.tab == TAB:
            self._session.later(self._look_now)

    async def _look_now(self) -> None:
        await self._look(0.0)

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"tenant": action.key})


def tenant_rows(read: TenantsRead, holds: Iterable[HeldTasks], may: May) -> dict[str, Row]:
    """One row per tenant, by its id; whether it is held is as of the last reading of the page."""
    own = {one.hold.name: one.hold for one in holds if one.hold.kind == "tenant" and one.hold.key == read.key}
    found = {one.tenant: one for one in read.tenants}
    found |= {name: TenantTasks(tenant=name) for name in own if name not in found}
    return {tenant: {**_row(one, own.get(tenant), may), "key": tenant} for tenant, one in found.items()}


def _row(one: TenantTasks, hold: Hold | None, may: May) -> Row:
    held, acts = hold is not None, list[Mapping[str, Any]]()
    if held and may(ReleaseTenant):
        acts.append(act(ReleaseTenant, "Release", "Its tasks are the next to run, in their order", usual=True))
    if may(HoldTenant):
        help_ = "Its end or its reason" if held else "Its tasks are set aside as they come"
        acts.append(act(HoldTenant, "Change" if held else "Hold", help_, usual=not held))
    if may(ClearTenant):
        acts.append(act(ClearTenant, "Clear", "Move its pending and its held tasks to the trash"))
    return known(
        name=one.tenant,
        state=_state(one, hold),
        waiting=one.waiting,
        waiting_about=bool(one.waiting_error) or None,
        running=one.running,
        failed=one.failed,
        failed_about=bool(one.failed_error) or None,
        held=one.held,
        held_about=bool(one.held_error) or None,
        acts=acts or None,
    )


def _state(one: TenantTasks, hold: Hold | None) -> list[str] | None:
    if hold is not None:
        until = f", until {hold.expires_at:%Y-%m-%d %H:%M} UTC" if hold.expires_at else ""
        return ["warn", "is being released" if hold.releasing else "held", f"by {hold.by or 'somebody'}{until}"]
    return ["none", "no configuration in Redis", ""] if one.synced is False else None
