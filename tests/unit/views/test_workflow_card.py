"""The workflow of a task on the page: its rows, and the button for those who may use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from opsdash.errors import Unavailable
from opsdash.model import Workflow, WorkflowTask
from opsdash.operation import Operation
from opsdash.operations import CancelWorkflow
from opsdash.views.workflow import DEEPEST, STEP, WorkflowTree


class Card:
    """The card that it is in."""

    def __init__(self, *answers: Workflow | Unavailable, may: bool = True) -> None:
        self.answers, self.may, self.asked = list(answers), may, list[Operation]()

    async def read_workflow(self, task_id: str) -> Workflow:
        assert task_id == "a-1"
        answer = self.answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    def may_ask(self, operation: Operation) -> bool:
        assert isinstance(operation, CancelWorkflow)
        return self.may

    async def ask_for(self, operation: Operation) -> None:
        self.asked.append(operation)

    def soon(self, read: Callable[[], Awaitable[None]]) -> None:
        asyncio.run(read())  # type: ignore[arg-type] # a coroutine function's


def found(*tasks: WorkflowTask, **more: int) -> Workflow:
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task.state] = counts.get(task.state, 0) + 1
    return Workflow(id="a-1", root="root-1", tasks=tasks, total=more.get("total", len(tasks)), counts=counts)


GAP = WorkflowTask(id="root-1", state="unknown", of_children=1)
WAITS = WorkflowTask(id="a-1", state="waiting", name="shop.a", queue="emails", depth=1, arguments="7")
DEEP = WorkflowTask(id="", state="not_sent", name="shop.b", part="callback", depth=30)


def test_rows_are_as_deep_as_the_tree_within_the_width_of_a_phone() -> None:
    tree = WorkflowTree(Card(found(GAP, WAITS, DEEP, total=700)), "a-1", "light")
    tree.read_soon()
    assert [row["name"] for row in tree.table.rows] == [
        "? not known",
        "└ shop.a",
        f"{STEP * (DEEPEST - 1)}└ shop.b",
    ]
    assert [row["where"] for row in tree.table.rows] == [
        "finished or never seen (1 child)",
        "waiting in emails",
        "not sent yet (callback)",
    ]
    assert [row.get("id") for row in tree.table.rows] == ["root-1", "a-1", None]
    assert "697 tasks more: counted, and not listed." in tree.table.note


@pytest.mark.parametrize("may", [True, False])
def test_cancelling_is_offered_to_those_who_may_while_something_is_left(may: bool) -> None:
    card = Card(found(GAP, WAITS), found(GAP), may=may)
    tree = WorkflowTree(card, "a-1", "light")
    (button,) = tree.table.actions
    assert not button.visible
    tree.read_soon()
    assert button.visible is may
    asyncio.run(tree._ask(None))
    assert card.asked == [CancelWorkflow(root="root-1")]
    tree.read_soon()
    assert not button.visible, "nothing is left"


def test_a_redis_that_does_not_answer_leaves_what_was_read_and_says_so() -> None:
    tree = WorkflowTree(Card(found(GAP, WAITS), Unavailable("Redis did not answer.")), "a-1", "light")
    tree.read_soon()
    tree.read_soon()
    assert len(tree.table.rows) == 2
    assert "Redis did not answer." in tree.table.note
