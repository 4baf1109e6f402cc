"""Any task: by its id, or by name and argument text; each row offers what can be done with a task where it is."""

from __future__ import annotations

from datetime import UTC, datetime

import param
from panel.viewable import Viewable

from opsdash.errors import Invalid, OpsdashError
from opsdash.model import FoundTask, TaskPage, TaskPlace
from opsdash.operation import Operation
from opsdash.operations.remove_task import act_on
from opsdash.services.queues.find_task import checked_id
from opsdash.services.queues.found_text import looked_at_line, missing, summary, where
from opsdash.services.queues.search_tasks import TaskQuery
from opsdash.services.queues.task_message import SHORTEST_PREFIX
from opsdash.services.threads import FINDS
from opsdash.state.changes import set_changed
from opsdash.text import count
from opsdash.views import rows
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.design import button, search
from opsdash.views.view import View

PAGE = 20
"""Tasks of one page."""
FIELD = "Task id, name or argument"
COLUMNS = [
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "where", "title": "Where it is", "priority": 1},
    {"field": "arguments", "title": "Arguments", "priority": 2},
    {"field": "id", "title": "Id", "priority": 3, "whole": True},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
ASK = "Enter a task's id, the beginning of one, a name (shop.*) or a text in the arguments."
LABELS = {
    "remove_task": ("Remove", "It is taken out of its queue, with undo"),
    "revoke_task": ("Revoke", "It is discarded, or ended where it runs"),
    "retry_failed": ("Retry", "It is sent to its queue again"),
    "restore_queue": ("Restore", "What was cleared goes back to its queue"),
}


class Tasks(View):
    """Looks for a task by its id; where there is none of that id, for tasks by name or a text in their arguments."""

    find = param.String(default="", doc="An id, the beginning of one, a name with *, or a text in the arguments.")

    _table: KeyedTable | None = None
    _found: FoundTask | None = None
    _page: TaskPage | None = None
    _afters: tuple[str, ...] = ("",)
    """Where the pages up to the one that is shown begin."""
    _read_at = ""
    _acts: dict[str, Operation]

    def _build(self) -> Viewable:
        self._acts = {}
        self._field = search(FIELD, width=300, value=self.find)
        self._field.param.watch(self._entered, "value")
        self._back = button("Previous", on_click=self._go_back, disabled=True)
        self._next = button("Next", on_click=self._go_on, disabled=True)
        self._table = KeyedTable(
            title="Find tasks",
            actions=[self._field, self._back, self._next],
            columns=self.shown_columns(COLUMNS),
            empty=ASK,
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self.on_action(self._changed)
        if self.find:
            self._session.later(self._look)
        return self._table

    async def _entered(self, event: param.parameterized.Event) -> None:
        self.find = str(event.new).strip()

    @param.depends("find", watch=True)
    async def _look_again(self) -> None:
        self._afters = ("",)
        if self._table is not None:
            await self._look()

    async def _go_on(self, _event: object) -> None:
        if self._page is not None and self._page.after:
            self._afters += (self._page.after,)
            await self._look()

    async def _go_back(self, _event: object) -> None:
        self._afters = self._afters[:-1] or ("",)
        await self._look()

    def _changed(self, _effect: object) -> None:
        """What was shown may be elsewhere now."""
        if self.find:
            self._session.later(self._look)

    async def _look(self) -> None:
        text, after, console = self.find, self._afters[-1], self._session.console

        def look() -> tuple[FoundTask | None, TaskPage | None]:
            if not text:
                return None, None
            found = console.find_task(text) if not after and _may_be_id(text) else None
            if found is not None and found.places:
                return found, None
            query = TaskQuery(name=text) if "*" in text else TaskQuery(text=text)
            return found, console.tasks.page(query, after=after, limit=PAGE)

        async with self._session.turn("tasks") as mine:
            if not mine:
                return
            self._say(note="Searching …" if text else "")
            try:
                found, page = await FINDS.run(look, caller=self._session.caller)
            except OpsdashError as error:
                self._say(note=error.explanation)
                return
        if text != self.find:  # another was asked for meanwhile
            await self._look()
            return
        self._found, self._page = found, page
        self._read_at = f"{datetime.now(UTC):%H:%M:%S} UTC"
        self._show()

    def _say(self, note: str) -> None:
        if self._table is not None:
            self._table.note = note

    def _show(self) -> None:
        if self._table is None:
            return
        found, page = self._found, self._page
        places = found.places if found is not None and found.places else page.tasks if page is not None else ()
        self._acts, shown = {}, list[rows.Row]()
        for place in places:
            row = self._row(place)
            if row["key"] not in {one["key"] for one in shown}:
                shown.append(row)
        self._back.disabled = page is None or len(self._afters) == 1
        self._next.disabled = page is None or not page.after
        set_changed(self._table, rows=shown, note=self._note(), empty=self._nothing(), **self.clock())

    def _note(self) -> str:
        found, page = self._found, self._page
        if found is not None and found.places:
            why = missing(found.looked_at)
            unsure = f"; not looked at: {why}" if why else ""
            return f"{summary(found)} Looked at: {looked_at_line(found)}{unsure}; read {self._read_at}"
        if page is None:
            return ""
        said = f"{count(len(page.tasks), 'task')} found in {page.looked_at:,} of {page.of:,}, read {self._read_at}"
        return " ".join([said, *page.problems])

    def _nothing(self) -> str:
        if not self.find:
            return ASK
        if self._page is not None and self._page.after:
            return "Nothing on this page matches; Next looks further."
        why = missing(self._found.looked_at) if self._found is not None else ""
        return "No task matches this." + (f" Not everything could be looked at: {why}." if why else "")

    def _row(self, place: TaskPlace) -> rows.Row:
        """One place of a task. Its button is what can be done with it there."""
        key = f"{place.id} {place.state} {place.queue} {place.worker} {place.trash_id} {place.position or ''}"[:400]
        acts = []
        fitting = act_on(place) if place.id else None
        if fitting is not None and self.actions and self._session.may(type(fitting)):
            label, help_ = LABELS[fitting.name]
            ends = fitting.params().get("terminate") is True
            acts.append(rows.act(type(fitting), "Terminate" if ends else label, help_, usual=True))
            self._acts[key] = fitting
        return rows.known(
            key=key,
            called=f"{place.name} {place.id}",
            name=place.name or place.unreadable or "-",
            where=where(place),
            arguments=place.arguments or place.unreadable,
            id=place.id,
            acts=acts,
        )

    async def _act(self, action: RowAction) -> None:
        if (operation := self._acts.get(action.key)) is not None and operation.name == action.name:
            await self._dialog.ask_for(operation)


def _may_be_id(text: str) -> bool:
    try:
        return bool(checked_id(text)) and len(text) >= SHORTEST_PREFIX
    except Invalid:
        return False
