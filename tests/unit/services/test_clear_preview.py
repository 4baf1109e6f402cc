"""The lines and figures that previews of queues share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.model import Line
from opsdash.services.queues import clear_preview

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def sample(**over: Any) -> Any:
    """What was found out about messages, by looking at some of them."""
    given = {"number": 5, "number_error": 2, "looked_at": 100, "counted": True, "by_task": {"a": 3, "b": 2}}
    return SimpleNamespace(**{**given, "error": {"a": 1}, "unseen": 4, **over})


def test_what_keeps_coming_is_said_with_its_rate_where_that_is_known() -> None:
    stays = "Tasks that arrive after this preview stay."
    assert clear_preview.arriving(None) == Line("will_not", f"Producers and beat continue to send. {stays}")
    assert clear_preview.arriving(1_234.56) == Line(
        "will_not", f"Producers and beat continue to send: about 1,234.6 tasks a second lately. {stays}"
    )


def test_the_age_of_the_oldest_is_said_or_not_known() -> None:
    assert clear_preview.age(None) == Line("note", "Age of the oldest: not known.")
    assert clear_preview.age(60.0).text == "Age of the oldest: 1m 0s."
    assert clear_preview.age(60.0, unsure=True).text != clear_preview.age(60.0).text


@pytest.mark.parametrize(
    ("held", "limited", "said"),
    [
        (0, 0, []),
        (1, 0, ["Not removed: 1 held task of this queue (opsdash holds)."]),
        (0, 2, ["Not removed: 2 waiting for a concurrency limit (opsdash concurrency-limits)."]),
        (
            3,
            1_000,
            [
                "Not removed: 3 held tasks of this queue (opsdash holds) and 1,000 waiting for a concurrency limit"
                " (opsdash concurrency-limits)."
            ],
        ),
    ],
)
def test_what_is_set_aside_stays(held: int, limited: int, said: list[str]) -> None:
    def one(kind: str, number: int) -> Any:
        return SimpleNamespace(hold=SimpleNamespace(kind=kind), by_queue={"emails": number, "other": 7})

    found = [one("task", held), one("limit", limited)]
    holds: Any = SimpleNamespace(look=lambda: SimpleNamespace(holds=found))
    lines = clear_preview.set_aside(holds, "emails")
    assert [line.text for line in lines] == said
    assert all(line.kind == "will_not" for line in lines)


def test_what_ends_during_a_pause_is_counted_estimated_or_said_to_be_unknown() -> None:
    later = "before the pause does: received later, Celery revokes them unrun."
    (unknown,) = clear_preview.expiring(None)
    assert (unknown.kind, "could not be read" in unknown.text) == ("warning", True)
    assert clear_preview.expiring(sample(number=0)) == []
    (one,) = clear_preview.expiring(sample(number=1))
    assert one.text == f"Of those that wait, 1 ends (its expires) {later}"
    (some,) = clear_preview.expiring(sample(number=1_500))
    assert some.text == f"Of those that wait, 1,500 end (their expires) {later}"
    (about,) = clear_preview.expiring(sample(number=1, number_error=1_000, looked_at=2_000, counted=False))
    assert about == Line(
        "warning",
        f"Of those that wait, about 1 (± 1,000, estimated from 2,000 of them) end (their expires) {later}",
    )


@pytest.mark.parametrize(
    ("seconds", "matches"), [(-1, False), (0, False), (1, True), (60, True), (61, False), (None, False)]
)
def test_only_what_ends_within_the_pause_is_meant(seconds: int | None, matches: bool) -> None:
    ends = None if seconds is None else (NOON + timedelta(seconds=seconds)).isoformat()
    raw = json.dumps({"headers": {"task": "a", "expires": ends}}).encode()
    meant = clear_preview.expire_by(NOON, NOON + timedelta(seconds=60))
    assert meant(raw) is matches
    assert not meant(b"no message")


def test_figures_and_kinds_of_tasks_say_whether_they_were_counted() -> None:
    looked_at, oldest = clear_preview.figures(sample(), 3.5)
    assert (looked_at.name, looked_at.value, looked_at.unit) == ("looked_at", 100, "tasks")
    assert (oldest.name, oldest.value, oldest.unit) == ("oldest_s", 3.5, "s")
    counted = clear_preview.by_task(sample())
    assert (counted.name, counted.label, counted.unit, counted.exactness) == (
        "by_task",
        "Kinds of tasks",
        "tasks",
        "exact",
    )
    assert [(part.name, part.value, part.error) for part in counted.parts] == [("a", 3, 1), ("b", 2, None)]
    assert counted.others is None
    guessed = clear_preview.by_task(sample(counted=False))
    assert guessed.exactness == "estimated"
    assert guessed.others is not None
    assert (guessed.others.name, guessed.others.value, guessed.others.error) == ("others, not seen", 0, 4)
