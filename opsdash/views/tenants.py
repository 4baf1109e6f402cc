"""Whether the tenants' configurations in Redis are those of the database, and what a sync would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.operations import SyncTenantConfigs
from opsdash.services.tenants.sync import TenantPlan
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.text import count
from opsdash.views.components import Card, KeyedTable
from opsdash.views.design import button
from opsdash.views.view import View

TITLE = "Tenant Configuration"
WHAT = "A sync writes every tenant's configuration from the database to Redis, without secrets."
MOST_NAMED = 50
COLUMNS = [
    {"field": "name", "title": "Tenant", "priority": 1},
    {"field": "state", "title": "A sync would", "kind": "state", "priority": 1},
    {"field": "fields", "title": "Because", "priority": 2},
]


class TenantDrift(View):
    """Whether the tenants' database and Redis differ, and the sync that ends it."""

    detailed = param.Boolean(default=False, doc="It can compare, tenant by tenant.")

    _card: Card | None = None
    _table: KeyedTable | None = None  # from the first comparison on: most pages have none

    def _build(self) -> Viewable:
        self._compared_at: datetime | None = None
        self._differences: list[list[str]] = []
        self._acts, self._unused = self._buttons(), False
        self._card = Card(title=TITLE, actions=self._acts, theme=self.param.theme)
        self._show()
        return self._card

    def _buttons(self) -> list[Viewable]:
        if not self.actions:
            return []
        sync = button("Sync Tenant Configs", "sync", on_click=self._dialog.asks(SyncTenantConfigs))
        sync.disabled = not self._session.may(SyncTenantConfigs)
        return [button("Compare now", "look", on_click=self._compare), sync] if self.detailed else [sync]

    @param.depends("actions", "detailed", watch=True)
    def _show_actions(self) -> None:
        if self._card is not None:
            self._acts = self._buttons()
            self._card.actions = [] if self._unused else self._acts

    @param.depends("status.tenants_card", watch=True)
    def _show(self) -> None:
        if self._card is None:
            return
        told = self.status.tenants_card
        self._unused = unused = bool(told.get("unused"))  # then one line is in the place of the card
        table = [] if unused or self._table is None else [self._table]
        set_changed(self._card, title="" if unused else TITLE, actions=[] if unused else self._acts, objects=table)
        if unused:
            self._card.lines = [["mute", told["unused"]]]
            return
        number = told.get("count")
        lines = [
            ["big", f"{'not known' if number is None else f'{number:,}'} {told.get('words', 'tenants')}"],
            [told.get("tone", "none"), told.get("drift", "")],
            ["mute", WHAT],
        ]
        if self._compared_at is not None and told.get("synced", 0) > self._compared_at.timestamp():
            self._compared_at = None  # a sync that ended after it has made it untrue
        if self._compared_at is not None:
            lines += [["mute", f"Compared at {self._compared_at:%H:%M:%S} UTC"], *self._differences]
        if self._table is not None:
            self._table.visible = self._compared_at is not None
        self._card.lines = lines

    async def _compare(self, event: param.parameterized.Event) -> None:
        event.obj.disabled = True
        try:
            began = datetime.now(UTC)
            async with self._session.turn("compare") as mine:
                if mine:
                    plan = await READS.run(self._session.console.tenants.plan, caller=self._session.caller)
                    self._compared_at, self._differences, found = began, *compared(plan)
                    self._show_differing(found)
                    self._show()
        except OpsdashError as error:
            self._session.say(error.explanation, "bad")
        finally:
            event.obj.disabled = False

    def _show_differing(self, found: list[dict[str, Any]]) -> None:
        if self._table is None:
            nothing = "Every key in Redis is as the database has it."
            self._table = KeyedTable(
                title="Tenants that differ", columns=COLUMNS, empty=nothing, theme=self.param.theme
            )
        self._table.rows = found


def compared(plan: TenantPlan) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """What a sync would do: in a line, and a row for each tenant that is named."""
    figures = (
        (plan.added, f"{plan.added:,} would be added"),
        (plan.changed, f"{plan.changed:,} would change"),
        (plan.seen.unchanged, f"{plan.seen.unchanged:,} unchanged"),
        (len(plan.orphaned), count(len(plan.orphaned), "orphaned key")),
        (plan.seen.unreadable, f"{plan.seen.unreadable:,} can't be read"),
    )
    named = [
        *(
            (tenant, "warn", "change it", "; ".join(fields) or "written differently")
            for tenant, fields in plan.changes.items()
        ),
        *((tenant, "bad", "skip it", why) for tenant, why in plan.seen.failed.items()),
        *((tenant, "info", "keep its key", "no longer in the database") for tenant in plan.orphaned[:MOST_NAMED]),
    ]
    if plan.added:
        named.append((count(plan.added, "new tenant"), "ok", "add", "no key in Redis"))
    rows = [
        {"key": f"{state}:{tenant}", "name": tenant, "state": [tone, state, ""], "fields": why}
        for tenant, tone, state, why in named
    ]
    said = ", ".join(text for number, text in figures if number) or "nothing would change"
    return [["text", f"{count(plan.seen.rows, 'tenant')} in the database: {said}."]], rows
