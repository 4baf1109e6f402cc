"""A look into a queue, beside the page: by pages, and what a search finds. Redacted by the server, never unpickled."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.model import TaskPage, TaskPlace, to_plain
from opsdash.operation import Operation
from opsdash.operations import RemoveTask, RevokeTask
from opsdash.services.broker.messages import Message
from opsdash.services.queues.browse import Look, browse
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.text import count, in_words
from opsdash.views import rows
from opsdash.views.components import Dialog, KeyedTable, RowAction
from opsdash.views.design import button
from opsdash.views.design import search as search_field
from opsdash.views.view import View

PAGE = 20
"""Messages of one page."""
LAST = 5
"""Messages of the queue's end that a page has below it."""
COLUMNS = [
    {"field": "position", "title": "Place", "kind": "number", "priority": 1},
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "arguments", "title": "Arguments", "priority": 2},
    {"field": "age", "title": "Sent", "priority": 2, "whole": True},
    {"field": "priority", "title": "Priority", "kind": "number", "priority": 4},
    {"field": "retries", "title": "Retries", "kind": "number", "priority": 4},
    {"field": "size", "title": "Size", "kind": "bytes", "priority": 4},
    {"field": "id", "title": "Id", "priority": 3, "whole": True},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


class Peek(View):
    """What waits in a queue, as a panel at the side of the page. It is shown once something was looked at."""

    find = param.String(default="", doc="Shows the tasks whose id, name or arguments hold this text.")

    _panel: Dialog | None = None
    _look, _looked, _queue = Look(waiting=0), "", ""
    _starts: tuple[int, ...] = (1,)
    """Of the pages up to the one that is shown."""
    _found = TaskPage()
    _afters: tuple[str, ...] = ("",)
    """The same of a search."""

    def _build(self) -> Viewable:
        self._find = search_field("Id, name or argument", width=220)
        self._find.link(self, value_input="find")
        self._table = KeyedTable(
            title="In the order workers take them",
            actions=[self._find],
            columns=self.shown_columns(COLUMNS),
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        self._back = button("Previous", on_click=self._go_back)
        self._next = button("Next", on_click=self._go_on)
        self._panel = Dialog(
            self._table,
            side=True,
            theme=self.param.theme,
            actions=[
                self._back,
                self._next,
                button("Refresh", on_click=self._again),
                button("Close", on_click=self._leave),
            ],
        )
        return self._panel

    async def look(self, queue: str) -> bool:
        """Looks at the first page; False where that failed, which the page has said."""
        self._queue, self._starts, self._afters = queue, (1,), ("",)
        if self._panel is not None:
            self._find.param.update(value="", value_input="")
        return await self._read()

    def open(self) -> None:
        """Shows what was looked at. It has its place by now."""
        if self._panel is not None:
            self._panel.param.update(title=f"Waiting tasks of {self._queue}", open=True)
            self._show()

    async def _read(self) -> bool:
        console, queue, text, first = self._session.console, self._queue, self.find, self._starts[-1]
        after = self._afters[-1]

        def look() -> Look | TaskPage:
            console.queues.check(queue, console.queue_names())
            console.queues.check_lists(queue)
            if text:
                return console.tasks.waiting(queue, text, after=after, limit=PAGE)
            return browse(console.broker, queue, first, PAGE, last=LAST, redact=console.settings.redact)

        async with self._session.turn("peek") as mine:
            if not mine:
                return False
            try:
                seen = await READS.run(look, caller=self._session.caller)
            except OpsdashError as error:
                self._tell(error.explanation)
                return False
            if (queue, text, first, after) != (self._queue, self.find, self._starts[-1], self._afters[-1]):
                return False  # another was asked for meanwhile: these are not its tasks
        if isinstance(seen, Look):
            self._look = seen
        else:
            self._found = seen
        self._tell("")
        self._looked = f"{datetime.now(UTC):%H:%M:%S} UTC"
        self._show()
        return True

    def _tell(self, why: str) -> None:
        """An error; in the panel where it is open, because a message of the page would be behind it."""
        if self._panel is not None and self._panel.open:
            self._panel.problem = why
        elif why:
            self._session.say(why, "bad")

    def _show(self) -> None:
        if self._panel is not None:
            (self._show_found if self.find else self._show_look)()

    def _show_look(self) -> None:
        look, first = self._look, self._starts[-1]
        places = f"{first:,} to {look.upto:,} of {look.waiting:,}"
        set_changed(
            self._table,
            title="In the order workers take them",
            rows=peeked(look, may=self._may),
            note=f"{places}, read {self._looked}" if look.upto >= first else f"Read {self._looked}",
            empty="Nothing waits in this queue.",
        )
        self._back.disabled = len(self._starts) == 1
        self._next.disabled = look.upto >= look.waiting

    def _show_found(self) -> None:
        page = self._found
        places = f"{page.looked_at:,} of {page.of:,}"
        found = Look(waiting=page.of, messages=tuple(map(_message, page.tasks)))
        set_changed(
            self._table,
            title="Newest first",
            rows=peeked(found, may=self._may, gaps=False),
            note=f"{count(len(page.tasks), 'task')} found in {places}, read {self._looked}",
            empty=f"Nothing in {places} matches this text." if page.of else "Nothing waits in this queue.",
        )
        self._back.disabled = len(self._afters) == 1
        self._next.disabled = not page.after

    def _may(self, operation: type[Operation]) -> bool:
        return bool(self.actions) and self._session.may(operation)

    @param.depends("find", watch=True)
    async def _search(self) -> None:
        self._starts, self._afters = (1,), ("",)
        if self._queue:
            await self._read()

    async def _go_on(self, _event: object) -> None:
        # What was pressed twice before it was read goes one page on.
        if self.find and self._found.after not in {"", self._afters[-1]}:
            self._afters += (self._found.after,)
        elif not self.find and self._look.upto + 1 != self._starts[-1]:
            self._starts += (self._look.upto + 1,)
        await self._read()

    async def _go_back(self, _event: object) -> None:
        if self.find:
            self._afters = self._afters[:-1] or ("",)
        else:
            self._starts = self._starts[:-1] or (1,)
        await self._read()

    async def _again(self, _event: object) -> None:
        await self._read()

    def _leave(self, _event: object) -> None:
        if self._panel is not None:
            self._panel.open = False

    async def _act(self, action: RowAction) -> None:
        task_id = next((str(row["id"]) for row in self._table.rows if row["key"] == action.key), "")
        self._tell("")
        await self._dialog.ask(action.name, {"task_id": task_id}, tell=self._tell)


def _message(place: TaskPlace) -> Message:
    """A task that was found, as the table shows messages."""
    now = datetime.now(UTC)
    return Message(
        position=place.position or 0,
        name=place.name,
        id=place.id,
        priority=place.priority or 0,
        sent_at=place.sent_at,
        age_s=None if place.sent_at is None else max(0.0, (now - place.sent_at).total_seconds()),
        eta=place.eta,
        retries=place.retries,
        arguments=place.arguments,
        unreadable=place.unreadable,
        size_bytes=place.size_bytes or 0,
    )


def peeked(look: Look, *, may: rows.May, gaps: bool = True) -> list[rows.Row]:
    """One row per message, and one for those before, between and behind that are not shown.

    Args:
        may: Whether who looks may run an operation. ``gaps``: what is not shown is a row.
    """
    found: list[rows.Row] = []
    last, keys = 0, set[str]()
    for message in look.messages:
        if gaps:
            found += _gap(last, message.position)
        last = message.position
        found.append(_row(message, may=may))
    found += _gap(last, look.waiting + 1) if gaps else []
    for row in found:
        while row["key"] in keys:  # a message that was sent twice, or an id that looks like one of our keys
            row["key"] += f" at {row.get('position', '')}"
        keys.add(row["key"])
    return found


def _gap(last: int, following: int) -> list[rows.Row]:
    if following <= last + 1:
        return []
    return [{"key": f"gap:{last}", "name": f"… {count(following - last - 1, 'task')} not shown"}]


def _ago(age_s: float) -> str:
    return f"{in_words(age_s)} ago" if age_s >= 1 else "just now"


def _row(message: Message, *, may: rows.May) -> rows.Row:
    """One message. Its buttons are there if it has an id."""
    acts = [{"name": "copy", "label": "Copy", "help": "Copy as JSON", "copies": "json", "usual": True}]
    if message.id and may(RemoveTask):
        acts.append(rows.act(RemoveTask, "Remove", "It is taken out of its queue, with undo", usual=True))
    if message.id and may(RevokeTask):
        acts.append(rows.act(RevokeTask, "Revoke", "It is discarded when a worker receives it"))
    return rows.known(
        key=message.id or f"place:{message.position}",
        called=f"{message.name} {message.id}",
        position=message.position,
        name=message.name or message.unreadable,
        priority=message.priority,
        arguments=message.arguments or None,
        age="not known" if message.age_s is None else _ago(message.age_s),
        retries=message.retries,
        size=message.size_bytes,
        id=message.id or None,
        json=json.dumps(to_plain(message), indent=2, ensure_ascii=False),
        acts=acts,
    )
