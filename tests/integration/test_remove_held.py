"""A held task is removed by its id from a console, and its undo has it held again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.held import put_aside
from support.messages import message
from support.previews import texts

from opsdash.operations import ClearQueue, HoldTasks, LimitConcurrency, ReleaseTasks, RemoveTask, RestoreQueue
from opsdash.operations.remove_task import act_on
from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    console = console_for(database_url=sqlite_url, queues=("celery", "emails"))
    console.run(HoldTasks(task="shop.charge"), actor="maria", confirm="YES")
    (hold,) = console.holds.read().holds
    put_aside(console.broker, hold, *(message(f"held-{n}") for n in range(3)), queue="emails")
    return console


def test_a_held_task_is_removed_by_its_id_and_held_again_by_the_undo(console: Console) -> None:
    found = console.find_task("held-1")
    assert act_on(found.places[0]) == RemoveTask(task_id="held-1")
    preview = console.preview(RemoveTask(task_id="held-1"))
    assert "held: task shop.charge, from queue emails" in preview.lines[0].text
    done = console.run(RemoveTask(task_id="held-1"), actor="maria", confirm="YES", reviewed=preview)
    assert done.message == "Removed held-1 from what is held of emails, place 2 of 3."
    assert console.holds.look().holds[0].held == 2
    assert isinstance(done.undo, RestoreQueue)
    back = console.run(done.undo, actor="maria", confirm="YES")
    assert "the hold that held it holds it again" in back.message
    assert console.holds.look().holds[0].held == 3


def test_after_the_release_the_undo_puts_it_into_its_queue(console: Console) -> None:
    done = console.run(RemoveTask(task_id="held-1"), actor="maria", confirm="YES")
    console.run(ReleaseTasks(task="shop.charge"), actor="maria", confirm="YES")
    assert isinstance(done.undo, RestoreQueue)
    console.run(done.undo, actor="maria", confirm="YES")
    assert console.get_queue_length("emails") == 3
    assert console.find_task("held-1").position == 2


def test_the_preview_of_a_clear_says_what_is_set_aside_of_the_queue_and_stays(console: Console) -> None:
    def stays(queue: str) -> list[str]:
        return [text for text in texts(console.preview(ClearQueue(queue=queue))) if text.startswith("Not removed:")]

    assert stays("emails") == ["Not removed: 3 held tasks of this queue (opsdash holds)."]
    assert stays("celery") == []
    console.run(LimitConcurrency(task="shop.*", most=1), actor="maria", confirm="YES")
    limit = console.holds.find("limit", "shop.*")
    assert limit is not None
    put_aside(console.broker, limit, message("waits"), queue="emails")
    put_aside(console.broker, limit, message("waits too"), queue="celery")
    waits = "1 waiting for a concurrency limit (opsdash concurrency-limits)."
    assert stays("emails") == [f"Not removed: 3 held tasks of this queue (opsdash holds) and {waits}"]
    assert stays("celery") == [f"Not removed: {waits}"]
