"""What failed, by task and error: a group opens to its tasks, and a task to its traceback."""

from __future__ import annotations

from functools import partial
from html import escape

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.model import Failure, FailurePage
from opsdash.operations import DiscardFailed, EditFailed, RetryFailed
from opsdash.services.failures.store import FailureFilter
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.views.components import Card, KeyedTable, RowAction
from opsdash.views.design import OpsDesign, button, search, stack
from opsdash.views.failure_rows import entry_rows, facts_of_entry, facts_of_group
from opsdash.views.rows import Row
from opsdash.views.view import View

PAGE = 20
"""Failed tasks of one page."""
MOST_OPEN = 20
"""Groups of one page of the console that are read: each costs two round trips when it changes."""
COLUMNS = [
    {"field": "error", "title": "Error", "priority": 1},
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "count", "title": "Count", "kind": "number", "priority": 1, "help": "Within the time failures are kept"},
    {"field": "hours", "title": "24 hours", "kind": "spark", "priority": 3, "help": "Failures in each hour"},
    {"field": "per_hour", "title": "Per hour", "kind": "decimal", "priority": 3, "help": "In this hour and the last"},
    {"field": "first", "title": "First (UTC)", "kind": "time", "priority": 4},
    {"field": "last", "title": "Last", "kind": "ago", "priority": 2},
    {"field": "queues", "title": "Queue", "priority": 3},
    {"field": "workers", "title": "Workers", "priority": 4},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
ENTRIES = [
    {"field": "at", "title": "Failed (UTC)", "kind": "time", "priority": 1},
    {"field": "arguments", "title": "Arguments", "priority": 1},
    {"field": "worker", "title": "Worker", "priority": 3},
    {"field": "queue", "title": "Queue", "priority": 3},
    {"field": "times", "title": "Times", "kind": "number", "priority": 4},
    {"field": "id", "title": "Id", "priority": 3, "whole": True},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
NOTHING = "No failed task is kept."
UNSAID = {"ids": "", "task": "", "error": "", "queue": "", "group": "", "since_s": ""}
"""Which tasks are meant is what was clicked: the dialog asks for none of these."""


class Failures(View):
    """Failed tasks by task and error, with count, times, rate, queues and workers; retry, discard and edit."""

    find = param.String(default="", doc="Shows the groups that hold each of these words.")
    selection = param.List(default=[], item_type=str, doc="Fingerprints of the groups whose rows are open.")

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._contents: dict[str, _Group] = {}
        find = search("Filter failures", value=self.find, value_input=self.find)
        find.link(self, value_input="find")
        self._table = KeyedTable(
            title="Failures",
            actions=[find],
            columns=self.shown_columns(COLUMNS),
            expanded=self.selection,
            row_content=self._group,
            empty=NOTHING,
            theme=self.param.theme,
        )
        self._table.param.watch(self._opened, "expanded")
        self._table.on_action(self._act)
        self._show()
        return self._table

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.columns = self.shown_columns(COLUMNS)

    @param.depends(
        "status.failure_rows", "status.failures_card", "status.redis_error", "status.stalled_s", "find", watch=True
    )
    def _show(self) -> None:
        if self._table is None:
            return
        words = self.find.lower().split()
        rows = self.status.failure_rows
        if words:
            rows = [row for row in rows if all(word in _searched(row) for word in words)]
        note = self.status.failures_card.get("note", "")
        empty = "Nothing matches." if words else NOTHING
        set_changed(self._table, rows=rows, note=note, empty=empty, **self.clock())
        for key in self._table.opened:
            self._contents[key].show()

    def _opened(self, event: param.parameterized.Event) -> None:
        self.selection = list(event.new)

    @param.depends("selection", watch=True)
    def _open(self) -> None:
        if self._table is not None:
            self._table.expanded = self.selection[:MOST_OPEN]

    def _group(self, key: str) -> Viewable:
        group = self._contents[key] = _Group(self, key)
        group.show()
        return group.card

    def row(self, key: str) -> Row:
        """Of a group; without fields where it has gone."""
        return next((row for row in self.status.failure_rows if row["key"] == key), {})

    async def read(self, key: str, first: int) -> FailurePage:
        """Some tasks of a group.

        Raises:
            OpsdashError: They can't be read.
        """
        store, where = self._session.console.failed.store, FailureFilter(fingerprint=key)
        look = partial(store.page, where, first=first, number=PAGE)
        return await READS.run(look, caller=self._session.caller)

    def entries_of(self, page: FailurePage) -> dict[str, Row]:
        """Tasks as rows, with what who looks may do."""
        return entry_rows(page.failures, may=self._session.may)

    def links_of(self, failure: Failure) -> tuple[str, ...]:
        """Where else a task is shown."""
        return self._session.console.failed.links(failure)

    def soon(self, read: object) -> None:
        """Reads in the next turn."""
        self._session.later(read)  # type: ignore[arg-type] # a bound coroutine function

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {**UNSAID, "group": action.key})

    async def act_on_entry(self, action: RowAction) -> None:
        """A button of a task."""
        if action.name == EditFailed.name:
            await self._dialog.ask(action.name, {"failure_id": action.key})
        elif action.name in (RetryFailed.name, DiscardFailed.name):
            await self._dialog.ask(action.name, {**UNSAID, "ids": action.key})


class _Group:
    """What an opened group shows: its facts, and its tasks page by page, each with its traceback."""

    def __init__(self, view: Failures, key: str) -> None:
        self._view, self._key = view, key
        self._first, self._page = 1, FailurePage()
        self._shown: Row | None = None
        self._busy = self._stale = False
        self._back = button("Previous", on_click=self._go_back, disabled=True)
        self._next = button("Next", on_click=self._go_on, disabled=True)
        self.table = KeyedTable(
            title="Tasks, the last one first",
            actions=[self._back, self._next],
            columns=ENTRIES if view.actions else ENTRIES[:-1],
            row_content=self._entry,
            empty="Reading …",
            theme=view.param.theme,
        )
        self.table.on_action(view.act_on_entry)
        self.facts = Card(theme=view.param.theme)
        self.card = stack(self.facts, self.table)

    def show(self) -> None:
        """Shows the group as it is now; its tasks are read where it has changed."""
        row, before = self._view.row(self._key), self._shown
        if row == before:
            return
        self._shown = row
        self.facts.lines = facts_of_group(row) if row else [["mute", "All of them were sent again or discarded."]]
        if before is None or any(row.get(name) != before.get(name) for name in ("count", "kept", "last")):
            self._view.soon(self.read)

    async def read(self) -> None:
        """Reads the page that is shown; where a reading is under way, once more after it."""
        if self._busy:
            self._stale = True
            return
        self._busy = True
        try:
            self._stale = True
            while self._stale:
                self._stale = False
                page = await self._view.read(self._key, self._first)
                if not page.failures and self._first > 1:  # those of this page have gone
                    self._first, self._stale = max(1, self._first - PAGE), True
                    continue
                self._take(page)
        except OpsdashError as error:
            self.table.note = error.explanation
        finally:
            self._busy = False

    def _take(self, page: FailurePage) -> None:
        self._page = page
        rows = [{**row, "key": key} for key, row in self._view.entries_of(page).items()]
        keys = {row["key"] for row in rows}
        self._back.disabled, self._next.disabled = self._first == 1, page.upto >= page.total
        set_changed(
            self.table,
            rows=rows,
            note=f"{self._first:,} to {page.upto:,} of {page.total:,}" if rows else "",
            empty="None of them is kept.",
            expanded=[key for key in self.table.expanded if key in keys],
        )

    async def _go_on(self, _event: object) -> None:
        self._first += PAGE
        await self.read()

    async def _go_back(self, _event: object) -> None:
        self._first = max(1, self._first - PAGE)
        await self.read()

    def _entry(self, key: str) -> Viewable:
        failure = next((one for one in self._page.failures if one.id == key), None)
        if failure is None:
            return Card(lines=[["mute", "It is not kept any more."]], theme=self._view.param.theme)
        facts = Card(lines=facts_of_entry(failure), theme=self._view.param.theme)
        links = self._view.links_of(failure)
        return stack(facts, links_pane(links)) if links else facts


def links_pane(links: tuple[str, ...]) -> Viewable:
    """Links to other tools. Their addresses are of the settings, what is filled in is encoded, and all is escaped."""
    shown = " ".join(
        f'<a href="{escape(link)}" target="_blank" rel="noopener noreferrer">{escape(link)}</a>' for link in links
    )
    return pn.pane.HTML(f"<p>{shown}</p>", margin=(0, 16), design=OpsDesign, sizing_mode="stretch_width")


def _searched(row: Row) -> str:
    fields = ("name", "error", "queues", "by_queue", "workers", "place", "said", "kind")
    return " ".join(str(row.get(field) or "") for field in fields).lower()
