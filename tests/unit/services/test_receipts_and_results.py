"""A receipt in one line, how long an undo is left, and what a result backend has of a task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.errors import Unavailable
from opsdash.services.queues import results
from opsdash.services.queues.receipt import NAMED, receipt_text
from opsdash.services.queues.results import Results
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.queues.trash import span


def receipt(before: dict[int, int], after: dict[int, int], *, at_once: bool = True, **others: tuple[int, int]) -> str:
    told = {name: {"before": was, "after": now} for name, (was, now) in others.items()}
    return receipt_text(
        {"receipt": {"queue": "celery", "before": before, "after": after, "others": told, "at_once": at_once}}
    )


def test_a_receipt_says_what_was_there_and_is_and_what_others_did() -> None:
    assert receipt_text({}) == ""
    assert receipt({0: 1_200}, {0: 0}) == "Receipt: celery 1,200 → 0 waiting."
    assert receipt({9: 2, 0: 3}, {9: 0, 0: 1}) == (
        "Receipt: celery 5 → 1 waiting (priority 0: 3 → 1, priority 9: 2 → 0)."
    )
    assert receipt({3: 2}, {3: 0}) == "Receipt: celery 2 → 0 waiting (priority 3: 2 → 0)."
    assert receipt({0: 1}, {0: 0}, at_once=False, emails=(4, 4), mail=(1, 2)) == (
        "Receipt: celery 1 → 0 waiting; as they were: emails 4; changed meanwhile by others: mail 1 → 2;"
        " counted before and after; workers and producers went on meanwhile."
    )
    many = {f"q{at}": (at, at) for at in range(NAMED + 2)}
    assert receipt({0: 1}, {0: 0}, **many).endswith(" and 2 more.")


@pytest.mark.parametrize(("seconds", "text"), [(90_061, "1d 1h"), (3_552, "59m 12s"), (12, "12s")])
def test_how_long_an_undo_is_left_is_said_in_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_an_age_is_of_the_moment_when_it_was_asked_for() -> None:
    assert TaskFilter.of(task="a").sent_before_s is None
    found = TaskFilter.of(task="a", older_than_s=60, containing="x", now_s=1_000.0)
    assert (found.task, found.sent_before_s, found.containing) == ("a", 940.0, "x")
    assert TaskFilter.of(older_than_s=0, now_s=1_000.0).sent_before_s == 1_000.0
    assert TaskFilter.of(older_than_s=60).sent_before_s > 1e9


@pytest.mark.parametrize(
    ("stored", "status", "ended"),
    [
        (b'{"status": "SUCCESS", "date_done": "2026-01-01T00:00:00+00:00"}', "SUCCESS", True),
        (b'{"status": "FAILURE", "result": "' + b"x" * 100_000, "FAILURE", False),
        ('{"status": "STARTED"}', "STARTED", False),
        (b"\x80\x04pickled", results.UNREADABLE, False),
        (b'{"result": {"status": "no"}}', results.UNREADABLE, False),
    ],
)
def test_a_results_status_is_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch, stored: Any, status: str, ended: bool
) -> None:
    backend = SimpleNamespace(get_key_for_task=lambda task_id: f"key of {task_id}", get=lambda key: (stored, key)[0])
    monkeypatch.setattr(results, "celery_app", lambda _settings: SimpleNamespace(backend=backend))
    reader = Results(SimpleNamespace(celery_app="shop:app"))
    found = reader._read("task-1")
    assert found is not None
    assert (found.status, found.ended_at is not None) == (status, ended)


def test_a_backend_that_has_nothing_or_breaks_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = SimpleNamespace(get_key_for_task=str, get=lambda _key: None)
    monkeypatch.setattr(results, "celery_app", lambda _settings: SimpleNamespace(backend=backend))
    reader = Results(SimpleNamespace(celery_app="shop:app"))
    assert reader._read("task-1") is None
    backend.get = lambda _key: 1 / 0
    with pytest.raises(Unavailable, match=r"answered with an error: ZeroDivisionError"):
        reader._read("task-1")
