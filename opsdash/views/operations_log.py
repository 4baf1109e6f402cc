"""The audit log: the newest entries live, every page of it with filters, and all of it as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import param
from panel.viewable import Viewable

from opsdash.errors import Invalid, OpsdashError
from opsdash.model import Status, times
from opsdash.operation import registry
from opsdash.operations import PruneAuditLog
from opsdash.services.audit.query import COUNTED, Filter, Page
from opsdash.services.threads import READS, SEARCHES
from opsdash.state.changes import set_changed
from opsdash.text import searched
from opsdash.views import rows
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button, choice, line, search, stack
from opsdash.views.hash_chain import HashChain
from opsdash.views.log_export import log_export
from opsdash.views.log_facts import facts
from opsdash.views.view import View

PAGE = 50
CUSTOM = "custom"
SINCE = {
    "Any time": "",
    "Last hour": "3600",
    "Last 24 hours": "86400",
    "Last 7 days": "604800",
    "Last 30 days": "2592000",
    "From … to …": CUSTOM,
}
COLUMNS: list[dict[str, Any]] = [
    {"field": "timestamp", "title": "Timestamp (UTC)", "kind": "time", "priority": 1},
    {"field": "user", "title": "User", "priority": 2},
    {"field": "operation", "title": "Operation", "priority": 1},
    {"field": "act", "title": "Operation", "priority": 1},
    {"field": "target", "title": "Target", "priority": 2},
    {"field": "why", "title": "Reason", "priority": 3},
    {"field": "status", "title": "Status", "kind": "state", "priority": 1},
    {"field": "summary", "title": "Details", "priority": 2},
    {"field": "took", "title": "Took", "priority": 4},
    {"field": "surface", "title": "From", "priority": 4},
    {"field": "acts", "title": "", "kind": "acts", "priority": 1},
]
MORE = {"act", "target", "why", "took", "surface"}
"""Columns of the whole log."""
FACTS: list[dict[str, Any]] = [
    {"field": "name", "title": "Fact", "priority": 1, "whole": True},
    {"field": "value", "title": "Value", "priority": 1},
    {"field": "acts", "title": "", "kind": "acts", "priority": 1},
]
LESS = {"operation"}
"""Of the newest entries alone: the operation with its target in one column."""


class RecentOperations(View):
    """The newest entries of the audit log, with Undo where there is one; ``detailed``: filters, pages and export."""

    detailed = param.Boolean(default=False, doc="With filters, all pages and all columns.")
    page_size = param.Integer(default=PAGE, bounds=(1, 500), doc="Entries of one page.")

    _table: KeyedTable | None = None
    _brokers: Viewable | None = None

    def _build(self) -> Viewable:
        self._found: Page | None = None
        self._found_for: dict[str, str] = {}
        self._unread = ""
        self._pages: list[str] = []
        self._mark: list[Any] | None = None
        self._table = KeyedTable(
            title="Recent Operations",
            actions=self._buttons() if self.actions else [],
            columns=self._columns(),
            row_content=self._details,
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._show()
        if not self.detailed:
            return self._table
        chain = HashChain(session=self._session, theme=self.theme, actions=self.actions)
        whole = stack(self._filters(), self._table, self._paging(), chain)
        self._offer_brokers()
        self._session.later(self._read)  # outside of a server that is at once
        return whole

    def _columns(self) -> list[dict[str, Any]]:
        columns, left_out = self.shown_columns(COLUMNS), LESS if self.detailed else MORE
        return columns if self.columns else [column for column in columns if column["field"] not in left_out]

    @param.depends("columns", "actions", watch=True)
    def _show_columns(self) -> None:
        if self._table is not None:
            self._table.param.update(columns=self._columns(), actions=self._buttons() if self.actions else [])

    @param.depends("page_size", watch=True)
    async def _show_pages(self) -> None:
        if self._table is not None and self.detailed:
            await self._to_newest(None)
        self._show()

    def _buttons(self) -> list[Viewable]:
        def wanted() -> Filter:
            return chosen(self._session.location.log_filter, datetime.now(UTC))

        export = log_export(self._session, wanted)
        if not self.detailed:
            return [export]
        flat = log_export(self._session, wanted, "For a spreadsheet", form="flat")
        prune = button("Prune Audit Log", "clear", css_classes=["danger"], on_click=self._dialog.asks(PruneAuditLog))
        prune.visible = self._session.may(PruneAuditLog)
        return [prune, flat, export]

    def _filters(self) -> Viewable:
        location = self._session.location

        def text(name: str, words: str, width: int) -> Viewable:
            field = search(words, width=width, value=getattr(location, name))
            field.link(location, value=name, bidirectional=True)
            return field

        def select(name: str, options: Mapping[str, str]) -> Viewable:
            value = getattr(location, name)
            known = value if value in options.values() else ""
            field = choice(next(iter(options)), options, value=known, width=150)
            field.link(location, value=name, bidirectional=True)
            return field

        operations = {kind.title: name for name, kind in registry().items()}
        statuses = {status.value.replace("_", " "): status.value for status in Status}
        location.param.watch(self._filtered, ["text", "user", "operation", "status", "since", "until", "broker"])
        self._brokers = select("broker", {"All brokers": "", "This broker": "this"})
        return line(
            text("text", "Search in the details", 200),
            text("user", "User", 120),
            select("operation", {"All operations": "", **operations}),
            select("status", {"All statuses": "", **statuses}),
            *self._range(text),
            self._brokers,
        )

    def _range(self, text: Callable[[str, str, int], Viewable]) -> list[Viewable]:
        """The usual ranges, and two fields for any other one."""
        location = self._session.location
        own = bool(location.until) or location.since not in SINCE.values()
        usual = choice("Any time", SINCE, value=CUSTOM if own else location.since, width=150)
        fields = [text("since", "From, as 2026-11-23 03:00 or 2h", 200), text("until", "To", 150)]
        for field in fields:
            field.visible = own

        def chose(event: param.parameterized.Event) -> None:
            for field in fields:
                field.visible = event.new == CUSTOM
            if event.new != CUSTOM:
                location.param.update(since=event.new, until="")
            elif location.since.isdigit():
                location.since = ""

        usual.param.watch(chose, "value")
        return [usual, *fields]

    def _paging(self) -> Viewable:
        self._newest = button("Newest", on_click=self._to_newest, disabled=True)
        self._older = button("Older", on_click=self._to_older, disabled=True)
        return line(self._newest, self._older)

    async def _filtered(self, _event: object) -> None:
        self._pages = []
        await self._read()

    async def _to_newest(self, _event: object) -> None:
        self._pages = []
        await self._read()

    async def _to_older(self, _event: object) -> None:
        if self._found is not None and self._found.after:
            if self._pages[-1:] != [self._found.after]:  # pressed twice before it was read
                self._pages.append(self._found.after)
            await self._read()

    async def _read(self) -> None:
        """Reads the page that is looked at; of several that were asked for the newest is shown."""
        audit = self._session.console.audit
        async with self._session.turn("log") as mine:
            if not mine:
                return
            given = self._session.location.log_filter
            try:
                wanted = chosen(given, datetime.now(UTC))
                after = self._pages[-1] if self._pages else None
                threads = SEARCHES if wanted.text else READS
                read = partial(_page, audit, wanted, self.page_size, after)
                page, total = await threads.run(read, caller=self._session.caller)
            except OpsdashError as error:
                self._session.later(partial(self._tell, given, error.explanation))
                return
        self._session.later(partial(self._take, given, page, total))

    def _tell(self, given: dict[str, str], why: str) -> None:
        """Why there is nothing to show; what was found stays where it was found by the same filter."""
        if self._found is not None and given == self._found_for:
            self._session.say(why, "bad")
            return
        self._unread = why
        if self._table is not None:
            self._table.note, self._older.disabled, self._newest.disabled = "", True, True
        self._show()

    def _take(self, given: dict[str, str], page: Page, total: int | None) -> None:
        self._found, self._found_for, self._unread = page, given, ""
        first = len(self._pages) * self.page_size + 1
        of = "" if total is None else f" of {total:,}"
        note = f"{first:,} to {first + len(page.entries) - 1:,}{of}" if page.entries else ""
        if page.searched is not None:
            note = searched(page.searched, page.of, further=bool(self._pages))
        if self._table is not None:
            self._table.note = note
            self._older.disabled, self._newest.disabled = not page.after, not self._pages
        self._show()

    @param.depends("status.operation_rows", "status.redis_error", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is None:
            return
        live = self.status.operation_rows
        newest = live if len(live) <= self.page_size else live[: self.page_size]
        shown = self._merged(self._found, live) if self.detailed and self._found is not None else newest
        filtered = self.detailed and self._session.location.log_filter
        nothing = "No entry matches this filter." if filtered else self._nothing()
        rows_now, nothing = ([], self._unread) if self._unread else (shown, nothing)
        set_changed(self._table, rows=rows_now, empty=nothing, **self.clock())
        self._offer_brokers()
        mark = [(row["key"], row["status"]) for row in live]
        if self.detailed and self._mark is not None and mark != self._mark and not self._pages:
            self._session.later(self._read)  # something new was logged: the newest page shows it too
        self._mark = mark

    def _offer_brokers(self) -> None:
        """There is something to choose once the log holds an entry of another broker."""
        if self._brokers is not None and self._table is not None:
            others = any(row.get("broker") for row in (*self._table.rows, *self.status.operation_rows))
            self._brokers.visible = others or bool(self._session.location.broker)

    def _merged(self, found_page: Page, live: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The page that was read, with what can be undone now."""
        acts = {row["key"]: row.get("acts") for row in live}
        found = rows.operation_rows(found_page.entries, here=self._session.console.broker.identity)
        return [{**row, "key": key, **({"acts": acts[key]} if acts.get(key) else {})} for key, row in found.items()]

    def _nothing(self) -> str:
        known = self.status.database_age_s is not None
        return rows.NO_OPERATIONS if known and not self.status.operations else ""

    def _details(self, key: str) -> Viewable:
        known = [*(self._found.entries if self._found is not None else ()), *self.status.operations]
        entry = next((entry for entry in known if str(entry.id) == key), None)
        return KeyedTable(columns=FACTS, rows=facts(entry) if entry is not None else [], theme=self.param.theme)

    async def _act(self, action: RowAction) -> None:
        row: dict[str, Any] = next((row for row in self.status.operation_rows if row["key"] == action.key), {})
        if undo := row.get("undo"):
            await self._dialog.ask(undo["name"], undo["args"], undo["half"])


def _page(audit: Any, wanted: Filter, limit: int, after: str | None) -> tuple[Page, int | None]:
    return audit.page(wanted, limit=limit, after=after), audit.total(wanted, most=COUNTED)


def chosen(given: Mapping[str, str], now: datetime) -> Filter:
    """The log's filter as an address has it; what is none of ours chooses nothing out.

    Raises:
        Invalid: ``since`` or ``until`` is no time.
    """
    return Filter(
        user=given.get("user", ""),
        operation=given.get("operation", ""),
        status=given.get("status", ""),
        text=given.get("text", ""),
        broker=given.get("broker", ""),
        since=_moment(given.get("since", ""), "From", now),
        until=_moment(given.get("until", ""), "To", now),
    )


def _moment(text: str, field: str, now: datetime) -> datetime | None:
    """A time of the filter: seconds to look back, as the usual ranges have it, or as people type it."""
    if not text or text == CUSTOM:
        return None
    try:
        return times.ago(int(text), now) if text.isdigit() else times.typed(text)
    except ValueError as error:
        raise Invalid(f"{text[:40]!r} is not a time: {error}", field=field) from None
