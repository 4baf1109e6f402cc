"""What an opened task shows: the workflow it belongs to, as a tree, and the button that cancels what is left of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.model import Workflow, WorkflowTask
from opsdash.operation import Operation
from opsdash.operations.cancel_workflow import act_on
from opsdash.services.queues.found_text import looked_at_parts, missing
from opsdash.services.workflows.text import not_shown, state_of, summary
from opsdash.views.components import KeyedTable
from opsdash.views.design import button
from opsdash.views.rows import Row, known

DEEPEST = 8
"""Steps to the right that a row is moved at most: a phone is narrow."""
STEP = "\u2003"
"""What a step is made of: a blank as wide as a letter is high, which no browser drops."""
COLUMNS = [
    {"field": "name", "title": "Task", "priority": 1},
    {"field": "where", "title": "Where it is", "priority": 1},
    {"field": "arguments", "title": "Arguments", "priority": 3},
    {"field": "group", "title": "Group", "priority": 4, "whole": True},
    {"field": "id", "title": "Id", "priority": 3, "whole": True},
]


class Reads(Protocol):
    """What it needs of the card that it is in."""

    async def read_workflow(self, task_id: str) -> Workflow:
        """Reads it."""

    def may_ask(self, operation: Operation) -> bool:
        """Who looks may do it."""

    async def ask_for(self, operation: Operation) -> None:
        """Opens its dialog."""

    def soon(self, read: Callable[[], Awaitable[None]]) -> None:
        """Reads in the next turn."""


class WorkflowTree:
    """The tasks of one task's workflow."""

    def __init__(self, card: Reads, task_id: str, theme: object) -> None:
        self._card, self._task_id = card, task_id
        self._found: Workflow | None = None
        self._busy = self._stale = False
        self._cancel = button("Cancel workflow", on_click=self._ask, visible=False)
        self.table = KeyedTable(
            title="Workflow", actions=[self._cancel], columns=COLUMNS, empty="Reading …", theme=theme
        )

    @property
    def view(self) -> Viewable:
        """What is shown."""
        return self.table

    def read_soon(self) -> None:
        """Reads it, in the turn of the page."""
        self._card.soon(self._read)

    async def _read(self) -> None:
        if self._busy:
            self._stale = True
            return
        self._busy = self._stale = True
        try:
            while self._stale:
                self._stale = False
                self._found = await self._card.read_workflow(self._task_id)
                self._show(self._found)
        except OpsdashError as error:
            self.table.note = error.explanation
        finally:
            self._busy = False

    def _show(self, found: Workflow) -> None:
        cancels = act_on(found)
        self._cancel.visible = cancels is not None and self._card.may_ask(cancels)
        why = missing(found.looked_at)
        said = [
            summary(found) if found.root else "",
            not_shown(found),
            *(f"{text[:1].upper()}{text[1:]}." for text in found.problems),
            f"Not looked at: {why}." if why else "",
            f"Looked at: {looked_at_parts(found.looked_at)}.",
        ]
        self.table.param.update(
            rows=[_row(at, task) for at, task in enumerate(found.tasks)],
            note=" ".join(text for text in said if text),
            empty="Nothing of it is found any more.",
        )

    async def _ask(self, _event: object) -> None:
        if self._found is not None and (cancels := act_on(self._found)) is not None:
            await self._card.ask_for(cancels)


def _row(at: int, task: WorkflowTask) -> Row:
    """One task, as deep as it hangs; a gap with a question mark."""
    name = "Group" if task.part == "group" else "? not known" if task.gap else task.name or "-"
    deep = min(task.depth, DEEPEST)
    return known(
        key=str(at),
        called=f"{name} {task.id}".strip(),
        name=f"{STEP * (deep - 1)}└ {name}" if deep else name,
        where=state_of(task),
        arguments=task.arguments or None,
        group=task.group or None,
        id=task.id or None,
    )
