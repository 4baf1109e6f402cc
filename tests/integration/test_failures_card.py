"""The card of failed tasks as a notebook or a page of one's own has it: without a browser, from its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.event_loops import no_event_loop_is_left  # noqa: F401 - a fixture
from support.failed_tasks import CHARGE, SEND, failed, keep

import opsdash
from opsdash.model import FailurePage
from opsdash.services.console import Console
from opsdash.views.failures import Failures

pytestmark = pytest.mark.usefixtures("no_event_loop_is_left")

FLOWER = "https://flower.example/task/{task_id}"


@pytest.fixture
def ops(console_for: Callable[..., Console]) -> Console:
    console = console_for(queues=("celery", "emails"), task_url=(FLOWER,))
    keep(console.broker, [failed(f"a{n}", ago_s=n, traceback="Traceback …", arguments=f"{n}") for n in range(25)])
    keep(console.broker, [failed("send-1", SEND, queue="emails", ago_s=7_200)])
    return console


def shown(card: Failures) -> Any:
    card.__panel__()
    assert card._table is not None
    return card._table


def test_groups_are_filtered_by_any_of_their_words(ops: Console) -> None:
    card = Failures(ops)
    table = shown(card)
    assert [row["name"] for row in table.rows] == [CHARGE.task, SEND.task]
    assert table.note == "26 failed tasks kept"
    card.find = "emails timeout"
    assert [row["name"] for row in table.rows] == [SEND.task]
    card.find = "nobody"
    assert (list(table.rows), table.empty) == ([], "Nothing matches.")


def test_a_group_opens_to_its_tasks_page_by_page_and_a_task_to_its_traceback(ops: Console) -> None:
    card = Failures(ops, selection=[CHARGE.fingerprint])
    table = shown(card)
    (group,) = card._contents.values()
    assert table.opened == [CHARGE.fingerprint]
    assert [row["id"] for row in group.table.rows] == [f"a{n}" for n in range(20)]
    assert group.table.note == "1 to 20 of 25"
    group._next.clicks += 1
    assert [row["id"] for row in group.table.rows] == [f"a{n}" for n in range(20, 25)]
    group.table.expanded = ["a20"]
    (content,) = group.table.contents
    assert content[0].lines[-1] == ["code", "Traceback …"]
    assert 'href="https://flower.example/task/a20"' in content[1].object


def test_what_was_sent_again_goes_from_the_card_and_from_the_open_group(ops: Console) -> None:
    card = Failures(ops, selection=[CHARGE.fingerprint])
    table = shown(card)
    (group,) = card._contents.values()
    ops.run(opsdash.RetryFailed(ids="a0"), actor="maria", confirm="YES")
    ops.poller.refresh()
    assert "a0" not in {row["id"] for row in group.table.rows}
    assert table.note == "25 failed tasks kept"
    ops.run(opsdash.DiscardFailed(group=CHARGE.fingerprint), actor="maria", confirm="YES")
    ops.poller.refresh()
    assert [row["name"] for row in table.rows] == [SEND.task]
    assert (group.facts.lines[0][1], list(group.table.rows)) == ("All of them were sent again or discarded.", [])


def test_a_group_that_has_not_changed_is_not_read_again(ops: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Failures(ops, selection=[CHARGE.fingerprint, "0123"])
    shown(card)
    card.close()  # from here on it is fed by hand: no reading of the poller comes in between
    read: list[str] = []

    async def note(_card: Failures, key: str, _first: int) -> FailurePage:
        read.append(key)
        return FailurePage()

    monkeypatch.setattr(Failures, "read", note)
    for _ in range(3):
        with card.status._open():
            card.status.failure_rows = list(card.status.failure_rows)  # another reading, of the same
    assert read == []
    assert list(card._contents) == [CHARGE.fingerprint], "a group that does not exist is not opened"
    with card.status._open():
        card.status.failure_rows = []
    assert card._contents[CHARGE.fingerprint].facts.lines[0][1] == "All of them were sent again or discarded."
    assert read == [CHARGE.fingerprint], "its table is emptied by one more look"


def test_a_card_that_is_for_looking_only_has_no_buttons(ops: Console) -> None:
    card = Failures(ops, actions=False, selection=[CHARGE.fingerprint])
    table = shown(card)
    (group,) = card._contents.values()
    assert "acts" not in {column["field"] for column in [*table.columns, *group.table.columns]}
