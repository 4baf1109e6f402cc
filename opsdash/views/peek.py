"""A look at both ends of a queue, as the server describes its messages: redacted, never unpickled."""

from __future__ import annotations

from datetime import UTC, datetime

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.operations import RevokeTask
from opsdash.services.broker.messages import Message
from opsdash.services.threads import READS
from opsdash.text import format_duration
from opsdash.views import rows
from opsdash.views.design import button, search
from opsdash.views.kit import KeyedTable, RowAction
from opsdash.views.view import View

PEEKED = 10
"""Messages at either end of a queue that a look shows."""
COLUMNS = [
    {"field": "position", "title": "Place", "kind": "number", "priority": 1},
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "priority", "title": "Priority", "kind": "number", "priority": 3},
    {"field": "arguments", "title": "Arguments", "priority": 2},
    {"field": "age", "title": "Age", "priority": 2},
    {"field": "retries", "title": "Retries", "kind": "number", "priority": 4},
    {"field": "size", "title": "Size", "kind": "bytes", "priority": 4},
    {"field": "id", "title": "Id", "priority": 3},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
GAP = "…"


class Peek(View):
    """The first and the last tasks that wait in a queue. It is shown once something was looked at."""

    find = param.String(default="", doc="Shows the tasks whose id, name or arguments hold this text.")

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._seen: tuple[Message, ...] = ()
        self._looked_at = ""
        find = search("Id, name or argument")
        find.link(self, value_input="find")
        self._table = KeyedTable(
            title="Waiting tasks",
            actions=[find, button("Close", "close", on_click=self._leave)],
            columns=self.shown_columns(COLUMNS),
            empty="Nothing waits in this queue.",
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        return self._table

    async def open(self, queue: str) -> None:
        """Looks, and shows what is there; on an error it tells the operator and shows nothing new."""
        console = self._session.console

        def look() -> tuple[Message, ...]:
            console.queues.check(queue, console.queue_names())
            return console.queues.peek(queue, PEEKED, console.settings.redact)

        async with self._session.turn("peek") as mine:
            if not mine:
                return
            try:
                self._seen = await READS.run(look, caller=self._session.caller)
            except OpsdashError as error:
                self._session.say(error.explanation, "bad")
                return
        self._looked_at = f"Looked at {datetime.now(UTC):%H:%M:%S} UTC"
        if self._table is not None:
            self._table.title = f"First and last tasks of {queue}"
        self.visible = True
        self._show()

    @param.depends("find", watch=True)
    def _show(self) -> None:
        if self._table is None:
            return
        shown = [row for row in peeked(self._seen, may=self._session.may(RevokeTask)) if _holds(row, self.find)]
        nothing = "No task here matches this text." if self.find else "Nothing waits in this queue."
        self._table.param.update(rows=shown, note=self._looked_at, empty=nothing)

    def _leave(self, _event: object) -> None:
        self.visible = False

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"task_id": action.key})


def peeked(messages: tuple[Message, ...], *, may: bool) -> list[rows.Row]:
    """One row per message, and one for those between the first and the last that were not looked at."""
    found: list[rows.Row] = []
    last = 0
    for message in messages:
        if last and message.position > last + 1:
            found.append(
                {"key": f"gap:{last}", "name": GAP, "arguments": f"{message.position - last - 1:,} more tasks"}
            )
        last = message.position
        acts = (
            [[RevokeTask.name, "Revoke", "It is discarded when a worker receives it"]] if may and message.id else None
        )
        found.append(
            rows.known(
                key=message.id or f"place:{message.position}",
                called=f"{message.name} {message.id}",
                position=message.position,
                name=message.name or message.unreadable,
                priority=message.priority,
                arguments=message.arguments,
                age="not known" if message.age_s is None else format_duration(message.age_s),
                retries=message.retries,
                size=message.size_bytes,
                id=message.id,
                acts=acts,
            )
        )
    return found


def _holds(row: rows.Row, text: str) -> bool:
    words = " ".join(str(row.get(name, "")) for name in ("id", "name", "arguments")).lower()
    return (row["name"] == GAP and not text) or text.lower() in words
