"""What was found of a task, and what workers hold, in sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.model import FoundTask, Line, LookedAt, OtherWorker, TaskPlace
from opsdash.services.queues import found_text, held
from opsdash.services.queues.found_text import summary, where
from opsdash.services.queues.task_message import SHORTEST_PREFIX

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def place(state: Any, **told: Any) -> TaskPlace:
    return TaskPlace(id="t1", state=state, **told)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (place("waiting", queue="emails", position=3, waiting=1_204), "waiting in queue emails, place 3 of 1,204"),
        (
            place("waiting", queue="emails", position=1_300, waiting=2_000, priority=6),
            "waiting in queue emails, place 1,300 of 2,000 (priority 6)",
        ),
        (place("waiting", queue="emails", priority=0), "waiting in queue emails, place 0 of 0"),
        (place("reserved", worker="w@x"), "fetched by w@x, not started"),
        (place("reserved"), "fetched by an unknown worker, not started"),
        (
            place("scheduled", worker="w@x", eta=NOON),
            "scheduled: w@x has fetched it, not before 2026-11-23 12:00:00 UTC",
        ),
        (place("active", worker="w@x", since=NOON, eta=NOON), "running in w@x, since 2026-11-23 12:00:00 UTC"),
        (place("held", queue="emails", hold="task shop.*"), "held: task shop.*, from queue emails"),
        (
            place("held", queue="emails", trash_id="4f5e"),
            "set aside from queue emails by an interrupted operation (trash 4f5e)",
        ),
        (place("cleared", queue="emails", trash_id="4f5e"), "cleared from queue emails, in trash 4f5e"),
        (place("failed"), "failed"),
        (
            place("failed", error="KeyError", since=NOON, eta=NOON, ended_at=NOON),
            "failed with KeyError, since 2026-11-23 12:00:00 UTC, not before 2026-11-23 12:00:00 UTC,"
            " at 2026-11-23 12:00:00 UTC",
        ),
        (place("finished", result="SUCCESS", ended_at=NOON), "finished: SUCCESS, at 2026-11-23 12:00:00 UTC"),
    ],
)
def test_each_place_is_said_with_all_that_is_known_of_it(found: TaskPlace, text: str) -> None:
    assert where(found) == text


def found(**told: Any) -> FoundTask:
    return FoundTask(**{"id": "t1", "state": None, **told})


def looked(what: Any, **told: Any) -> LookedAt:
    return LookedAt(what=what, read_at=NOON, **told)


LONG = "t" * SHORTEST_PREFIX
TWO = (place("failed"), TaskPlace(id="t12", state="failed"))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (found(places=TWO), "2 tasks found whose id begins with t1."),
        (found(places=TWO, more=True), "More than 2 tasks found whose id begins with t1."),
        (found(places=(place("failed"),)), "Task t1 is failed."),
        (found(places=(place("failed"),) * 2), "Task t1 is failed. It is in 1 other place as well."),
        (found(places=(place("failed"),) * 3), "Task t1 is failed. It is in 2 other places as well."),
        (
            found(result="SUCCESS"),
            "Task t1 was not found in the queues. The result backend says: SUCCESS.",
        ),
        (found(id=LONG), f"Task {LONG} was not found."),
        (
            found(),
            "Task t1 was not found. To find one by the beginning of its id, give"
            f" {SHORTEST_PREFIX} characters or more.",
        ),
        (
            found(id=LONG, complete=False),
            f"Task {LONG} was not found, but not everything could be looked at.",
        ),
    ],
)
def test_the_answer_is_one_sentence(answer: FoundTask, text: str) -> None:
    assert summary(answer) == text


LOOKED: list[tuple[dict[str, Any], str]] = [
    ({"what": "queues", "number": 4, "messages": 1_204_113}, "4 queues, 1,204,113 messages"),
    ({"what": "fetched", "messages": 1_200}, "1,200 fetched messages"),
    ({"what": "fetched"}, "0 fetched messages"),
    ({"what": "workers", "number": 12, "of": 14}, "12 of 14 workers answered"),
    ({"what": "trash", "messages": 3_000}, "3,000 messages in the trash"),
    ({"what": "failed", "number": 1}, "1 failed task"),
    ({"what": "results", "number": 1}, "the result backend"),
    ({"what": "results", "number": 0}, ""),
    ({"what": "workers", "number": 12}, ""),
]


@pytest.mark.parametrize(("told", "text"), LOOKED)
def test_what_was_looked_at_is_counted(told: dict[str, Any], text: str) -> None:
    assert found_text.looked_at_parts([LookedAt(read_at=NOON, **told)]) == text
    one = LookedAt(read_at=NOON, age_s=0.9, **told)
    assert found_text.looked_at(found(looked_at=(one,))) == [f"{text}, read just now" if text else ""]


def test_how_long_ago_and_what_was_missing_is_said() -> None:
    ago = looked("queues", number=1, messages=2, age_s=1.0)
    cut = looked("workers", number=1, of=2, age_s=0.0, complete=False, problem="w@x did not answer")
    none = looked("results", complete=False, problem="no result backend")
    fine = looked("failed", number=2, problem="not a reason")
    answer = found(looked_at=(ago, cut, none, fine))
    first, second, third, _ = found_text.looked_at(answer)
    assert first.startswith("1 queue, 2 messages, read ")
    assert first.endswith(" ago")
    assert second == "1 of 2 workers answered, read just now: w@x did not answer"
    assert third == "no result backend"
    assert found_text.missing(answer.looked_at) == "w@x did not answer; no result backend"
    assert found_text.looked_at_line(answer) == "1 queue, 2 messages, 1 of 2 workers answered, 2 failed tasks"


def other(number: int) -> OtherWorker:
    return OtherWorker(hostname=f"old{number}@x", queues=("celery",))


def test_unmanaged_workers_are_named_and_further_ones_counted() -> None:
    (unknown,) = held.not_reporting(None)
    assert unknown == Line("warning", "Unmanaged workers could not be asked: what they hold is not counted.")
    assert held.not_reporting([]) == []
    (one,) = held.not_reporting([other(1)])
    assert one == Line("warning", "1 worker does not report what it holds, which comes on top: old1@x.")
    (three,) = held.not_reporting([other(n) for n in range(3)])
    assert three.text == "3 workers do not report what they hold, which comes on top: old0@x, old1@x, old2@x."
    (four,) = held.not_reporting([other(n) for n in range(4)])
    assert four.text.endswith(": old0@x, old1@x, old2@x and 1 more.")


def silent(number: int) -> Any:
    return SimpleNamespace(hostname=f"w{number}@x", silent_s=60.0, active=number, reserved=1_000, scheduled=2)


def test_silent_workers_are_named_with_what_they_had_and_further_ones_counted() -> None:
    assert held.silent_lines([]) == []
    (one,) = held.silent_lines([silent(1)])
    assert one == Line("warning", "w1@x is silent for 1m 0s; in its last report it ran 1 task and had 1,002 more.")
    assert len(held.silent_lines([silent(n) for n in range(3)])) == 3
    *_, last = held.silent_lines([silent(n) for n in range(4)])
    assert last.text == "And 1 more worker is silent."
    *named, last = held.silent_lines([silent(n) for n in range(5)])
    assert (len(named), last.text) == (3, "And 2 more workers are silent.")
