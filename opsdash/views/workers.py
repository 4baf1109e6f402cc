"""Who works, and on what: a row opens to the worker's figures and to the tasks that it runs right now."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Viewable

from opsdash.operations import RevokeTask, SetTimeLimit
from opsdash.state.changes import set_changed
from opsdash.views.components import Card, KeyedTable, RowAction
from opsdash.views.design import button, search, stack
from opsdash.views.rows import NO_WORKERS
from opsdash.views.running import RunningTasks
from opsdash.views.view import View

COLUMNS: list[dict[str, Any]] = [
    {"field": "hostname", "title": "Worker", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 1},
    {"field": "since", "title": "Uptime", "kind": "since", "priority": 3},
    {"field": "active", "title": "Busy slots", "kind": "bar", "of": "slots", "priority": 2},
    {"field": "processed", "title": "Processed", "kind": "number", "priority": 3},
    {"field": "failed", "title": "Failed", "kind": "number", "priority": 2},
    {"field": "load", "title": "Load", "kind": "decimal", "priority": 4},
    {"field": "memory", "title": "Memory", "kind": "bytes", "priority": 4},
    {"field": "seen", "title": "Heartbeat", "kind": "ago", "priority": 4},
    {"field": "queues", "title": "Queues", "priority": 3},
    {"field": "pool", "title": "Pool", "priority": 4},
    {"field": "version", "title": "Version", "priority": 4},
    {"field": "pause", "title": "Pause applied", "kind": "state", "priority": 2},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
MORE = {"seen", "pool", "version"}
"""Columns of the workers' own tab."""
RUNNING = [
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "arguments", "title": "Arguments", "priority": 2},
    {"field": "started", "title": "Started (UTC)", "kind": "clock", "priority": 3},
    {"field": "since", "title": "Running for", "kind": "since", "priority": 1},
    {"field": "queue", "title": "Queue", "priority": 3},
    {"field": "key", "title": "Id", "priority": 4, "whole": True},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
FACTS = {
    "queues": "Queues",
    "started": "Started, by queue",
    "reserved": "Reserved, not started",
    "scheduled": "Scheduled (ETA)",
    "slots": "Slots",
    "pool": "Pool",
    "pid": "Process",
    "epoch": "Pause epoch",
    "build": "Build",
    "version": "opsdash",
}
MOST_TOLD = 20
"""Running tasks of one worker that are reported."""


class WorkerHealth(View):
    """Workers with state, uptime, busy slots, totals and what each runs; quiet and wake where the role allows them.

    A periodic callback reads what the open rows run, every two seconds while one is open.
    """

    detailed = param.Boolean(default=True, doc="With all columns, and a filter.")
    find = param.String(default="", doc="Shows the workers that hold each of these words.")
    selection = param.List(default=[], item_type=str, doc="Keys of the workers whose rows are open.")

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._contents: dict[str, _Details] = {}
        self._running = RunningTasks(self._session, self._told_running)
        self._table = KeyedTable(
            title="Worker Health",
            actions=self._buttons(),
            columns=self._columns(),
            expanded=self.selection,
            row_content=self._details,
            theme=self.param.theme,
        )
        self._table.param.watch(self._opened, "expanded")
        self._table.on_action(self._act)
        self._show()
        self.selection = list(self._table.expanded)  # a link may name any number
        self._running.open(self.selection)
        return self._table

    def _columns(self) -> list[dict[str, Any]]:
        columns = self.shown_columns(COLUMNS)
        if self.detailed or self.columns:
            return columns
        return [column for column in columns if column["field"] not in MORE]

    @param.depends("columns", "actions", "detailed", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.param.update(columns=self._columns(), actions=self._buttons())

    def _buttons(self) -> list[Viewable]:
        refresh = button("Refresh", "refresh", on_click=self._refresh)
        if not self.detailed:
            return [refresh] if self.actions else []
        find = search("Filter workers", value=self.find, value_input=self.find)
        find.link(self, value_input="find")
        revoke = button("Revoke Task", "close", on_click=self._dialog.asks(RevokeTask))
        revoke.disabled = not self._session.may(RevokeTask)
        limit = button("Set Time Limit", "clock", on_click=self._dialog.asks(SetTimeLimit))
        limit.disabled = not self._session.may(SetTimeLimit)
        return [find, limit, revoke, refresh] if self.actions else [find]

    @param.depends("status.worker_rows", "status.read_at", "status.redis_error", "status.stalled_s", "find", watch=True)
    def _show(self) -> None:
        if self._table is None:
            return
        words, rows = self.find.lower().split(), self.status.worker_rows
        if words:
            rows = [row for row in rows if all(word in _searched(row) for word in words)]
        read_at = self.status.redis_read_at
        set_changed(
            self._table,
            rows=rows,
            note=f"Last updated {read_at:%H:%M:%S} UTC" if read_at is not None else "Not read yet",
            empty="No worker matches this filter." if words else NO_WORKERS if self.status.known else "",
            **self.clock(),
        )
        for key in self._contents:
            self._contents[key].show(self._row(key))

    def _row(self, key: str) -> dict[str, Any]:
        return next((row for row in self.status.worker_rows if row["key"] == key), {})

    def _opened(self, event: param.parameterized.Event) -> None:
        self.selection = list(event.new)

    @param.depends("selection", watch=True)
    def _open(self) -> None:
        if self._table is not None:
            self._table.expanded = list(self.selection)
            self._contents = {key: made for key, made in self._contents.items() if key in self._table.opened}
            self._running.open(self.selection)

    def _details(self, key: str) -> Viewable:
        details = self._contents[key] = _Details(self, key)
        details.show(self._row(key))
        self._running.tell_again(key)
        return details.card

    def _told_running(self, key: str, rows: list[dict[str, Any]]) -> None:
        if key in self._contents:
            self._contents[key].running(rows, self._row(key))

    async def act_on_task(self, action: RowAction) -> None:
        """A button of a running task."""
        await self._dialog.ask(action.name, {"task_id": action.key})

    async def _act(self, action: RowAction) -> None:
        hostname = str(self._row(action.key).get("hostname", action.key))
        await self._dialog.ask(action.name, {"hostname": hostname})

    async def _refresh(self, event: param.parameterized.Event) -> None:
        event.obj.disabled = True
        try:
            await self._session.refresh()
        finally:
            event.obj.disabled = False


class _Details:
    """What an opened row shows: the tasks that run, and the worker's other figures."""

    def __init__(self, view: WorkerHealth, key: str) -> None:
        columns = RUNNING if view.actions else RUNNING[:-1]
        self._other = key.startswith("other:")
        self.table = KeyedTable(title="Running now", columns=columns, empty="Reading …", theme=view.param.theme)
        self.table.on_action(view.act_on_task)
        self.facts = Card(theme=view.param.theme)
        self.card = stack(self.table, self.facts)

    def show(self, row: dict[str, Any]) -> None:
        known = [[label, str(row[name])] for name, label in FACTS.items() if row.get(name) not in (None, "")]
        state = row.get("state", ["none", "", ""])
        set_changed(self.facts, lines=[["mute", " · ".join(f"{label}: {value}" for label, value in known)]])
        self.table.title = "Running when it last reported" if state[1] in {"silent", "offline"} else "Running now"
        if self._other:
            self.table.empty = "An unmanaged worker does not report its running tasks."

    def running(self, rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
        active = row.get("active") or 0
        more = active - len(rows) if len(rows) >= MOST_TOLD else 0
        set_changed(
            self.table,
            rows=rows,
            note=f"and {more} more" if more > 0 else "",
            empty=f"{active:,} running, without names." if active else "Nothing runs right now.",
        )


def _searched(row: dict[str, Any]) -> str:
    words = [row["hostname"], row["state"][1], row.get("queues"), row.get("pool"), row.get("build"), row.get("version")]
    return " ".join(str(word) for word in [*words, row["pause"][1]] if word).lower()
