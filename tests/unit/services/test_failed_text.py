"""Failed tasks, and what became of a retry, in words and numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.services.failures import failed_text, retry_preview, retry_result
from opsdash.services.failures.retry_preview import left_out


def group(**told: Any) -> Any:
    given = {"error": "", "kind": "time_limit", "queues": {}, "queue": max(told.get("queues") or {"": 0}, default="")}
    return SimpleNamespace(**given | told)


def test_a_group_is_called_by_its_error_or_how_it_ended() -> None:
    assert failed_text.error_of(group(error="KeyError")) == "KeyError"
    assert failed_text.error_of(group()) == "time limit"


@pytest.mark.parametrize(
    ("queue", "queues", "text"),
    [
        ("", {}, "-"),
        ("emails", {"emails": 3}, "emails"),
        ("emails", {"emails": 3, "": 1}, "emails"),
        ("emails", {"emails": 3, "celery": 1}, "emails and 1 other"),
        ("emails", {"emails": 3, "celery": 1, "*": 1}, "emails and 2 others"),
        ("", {"": 1, "a": 1, "b": 1}, "- and 1 other"),
    ],
)
def test_the_queue_that_most_came_from_is_named(queue: str, queues: dict[str, int], text: str) -> None:
    assert failed_text.queues_of(group(queue=queue, queues=queues)) == text


def test_why_a_task_can_not_be_sent_again_is_said() -> None:
    def one(**told: bool) -> Any:
        return SimpleNamespace(**{"sendable": False, "too_large": False, **told})

    assert failed_text.not_sendable(one(sendable=True)) == ""
    assert failed_text.not_sendable(one(too_large=True)) == "too large to be kept: it can't be sent again"
    assert failed_text.not_sendable(one()) == "not kept: it can't be sent again"
    assert failed_text.not_kept(0) == ""
    assert failed_text.not_kept(1_000) == "; 1,000 more were counted and not kept"


def test_five_figures_are_shown_and_further_ones_counted() -> None:
    assert failed_text.counters({}) == ""
    assert failed_text.counters({"emails": 1_200, "": 3, "*": 2}) == "emails 1,200, not known 3, others 2"
    five = dict.fromkeys("abcde", 1)
    assert failed_text.counters(five) == "a 1, b 1, c 1, d 1, e 1"
    assert failed_text.counters({**five, "f": 1, "g": 1}) == "a 1, b 1, c 1, d 1, e 1 and 2 more"


def sent(**told: Any) -> Any:
    given = {"total": 2, "changed": 0, "unable": 0, "as_it_was": 0, "no_list": 0, "left": 0, "cancelled": False}
    return SimpleNamespace(**{**given, "by_queue": {"emails": 2}, **told})


def failed(number: int) -> Any:
    return SimpleNamespace(id=f"id-{number}", task_id=f"task-{number}")


def test_a_retry_says_what_went_what_stayed_and_why() -> None:
    plan: Any = SimpleNamespace(going=[failed(n) for n in range(25)], left_out={"not kept": [failed(1), failed(2)]})
    done = retry_result.effect(plan, sent())
    assert (done.affected, done.message, done.ok) == (2, "Sent 2 failed tasks to their queues.", True)
    assert done.details == {
        "by_queue": {"emails": 2},
        "changed": 0,
        "left": 0,
        "left_out": {"not kept": 2},
        "ids": [f"id-{n}" for n in range(20)],
    }
    assert retry_result.effect(plan, sent(total=1)).message == "Sent 1 failed task to its queue."


@pytest.mark.parametrize(
    ("told", "note", "ok"),
    [
        (
            {"changed": 1_000},
            "1,000 had changed meanwhile: retried or discarded by another act, or failed again.",
            True,
        ),
        ({"unable": 2}, "2 can't be changed and stay as they are.", False),
        ({"as_it_was": 2}, "2 of them could not be read and were sent as they were.", True),
        ({"no_list": 2}, "2 stay: the key of their queue is not a list.", False),
        ({"left": 7}, "", True),
    ],
)
def test_each_number_of_a_retry_has_its_sentence(told: dict[str, int], note: str, ok: bool) -> None:
    plan: Any = SimpleNamespace(going=[], left_out={})
    done = retry_result.effect(plan, sent(**told))
    assert done.message == f"Sent 2 failed tasks to their queues. {note}".strip()
    assert done.ok is ok


def test_a_cancelled_retry_says_what_is_left() -> None:
    plan: Any = SimpleNamespace(going=[], left_out={})
    done = retry_result.effect(plan, sent(cancelled=True, left=7))
    assert done.message == "Cancelled. Sent 2 failed tasks to their queues. 7 are still kept as failed."
    assert (done.ok, done.details["left"]) == (False, 7)


@pytest.mark.parametrize(
    ("by_queue", "found"),
    [
        ({}, {"message": "It sent no task: all are still kept as failed."}),
        (
            {"a": 1, "b": 2},
            {
                "message": "It sent 3 failed tasks, each once; the others are still kept as failed. Run it again.",
                "count": 3,
                "by_queue": {"a": 1, "b": 2},
            },
        ),
    ],
)
def test_of_a_retry_that_did_not_end_it_is_told_what_it_sent(
    by_queue: dict[str, int], found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def sent_by(act: str) -> dict[str, int]:
        asked.append(act)
        return by_queue

    monkeypatch.setattr(retry_result, "Retry", lambda broker: SimpleNamespace(sent_by=sent_by))
    entry: Any = SimpleNamespace(id="act-1")
    assert retry_result.evidence("broker", entry) == found  # type: ignore[arg-type]
    assert asked == ["act-1"]


def test_what_a_retry_leaves_out_is_said_by_reason() -> None:
    one, two = failed(1), failed(2)
    plan: Any = SimpleNamespace(
        left_out={
            retry_preview.NOT_KEPT: [one],
            retry_preview.TOO_LARGE: [one, two],
            retry_preview.WAITING: [one, two],
            retry_preview.CHORD: [two],
        },
        looked=SimpleNamespace(found={"task-1": "emails", "task-2": "celery"}),
        unknown=["x1", "x2", "x3", "x4"],
    )
    lines = left_out(plan)
    texts = [line.text for line in lines]
    assert texts[0].startswith("1 is of chords, which have ended without them: ")
    assert texts[1].startswith("2 are on the way again already (celery, emails): ")
    assert texts[2].startswith("2 are too large to be kept, so there is no message to send: ")
    assert texts[3].startswith("1 has no message that could be sent: ")
    assert texts[4] == "Not kept as failed: x1, x2, x3 and 1 more."
    assert [line.choice for line in lines] == ["include_chords", "include_waiting", "", "", ""]
    plan.unknown, plan.left_out = ["x1", "x2", "x3"], {}
    assert [line.text for line in left_out(plan)] == ["Not kept as failed: x1, x2, x3."]
