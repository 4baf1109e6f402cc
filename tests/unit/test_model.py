from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model import AuditEntry, Role, Status, to_plain, untrusted
from opsdash.model.schedule import Schedule, SchedulePause
from opsdash.text import count, format_duration, parse_duration, typed_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m 0s"), (9_252, "2h 34m 12s"), (90_061, "1d 1h 1m 1s"), (-5, "0s")],
)
def test_a_duration_reads_as_an_operator_says_it(seconds: float, text: str):
    assert format_duration(seconds) == text


NIGHT, MORNING = datetime(2026, 11, 29, 2, tzinfo=UTC), datetime(2026, 11, 29, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "fires_at"),
    [
        ({}, MORNING),
        ({"pause": SchedulePause(expires_at=NIGHT)}, MORNING),
        ({"pause": SchedulePause(expires_at=MORNING + timedelta(hours=1))}, None),
        ({"pause": SchedulePause()}, None),
        ({"enabled": False}, None),
        ({"silent": True}, None),
    ],
)
def test_a_schedule_says_no_next_run_that_will_not_be(more: dict[str, Any], fires_at: datetime | None):
    assert Schedule(name="nightly", next_run_at=MORNING, **more).fires_at == fires_at


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("10m", 600), ("2h", 7_200), ("1d", 86_400), ("1h30m", 5_400), (" 2H ", 7_200)],
)
def test_a_typed_duration_is_understood(text: str, seconds: int):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "h", "2x", "-1h", "1.5h", "2h x", "²", "1h30"])
def test_what_is_no_duration_is_refused_with_examples(text: str):
    with pytest.raises(ValueError, match="write for example"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["15", " 90 ", "007"])
def test_a_number_without_a_unit_is_asked_about_and_never_taken_as_seconds(text: str):
    bare = text.strip()
    with pytest.raises(ValueError, match=f"^{bare} of what\\? Write {bare}m or {bare}s$"):
        parse_duration(text)


@given(st.integers(1, 10**7))
def test_what_a_command_prints_as_a_duration_can_be_pasted(seconds: int):
    assert parse_duration(typed_duration(seconds)) == seconds


@given(st.integers(1, 10**7))
def test_what_is_shown_as_a_duration_can_be_typed_as_one(seconds: int):
    assert parse_duration(format_duration(seconds).replace(" ", "")) == seconds


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (0, 0.0),
        ("0", 0.0),
        ("2.5", 2.5),
        (60, 60.0),
        (61, None),
        (-1, None),
        ("nan", None),
        ("inf", None),
        (True, None),
    ],
)
def test_a_measure_that_somebody_sent_is_from_zero_to_its_bound_or_none(sent: object, read: float | None):
    assert untrusted.figure(sent, most=60) == read


def entry(**details: object) -> AuditEntry:
    return AuditEntry(
        id=uuid4(),
        timestamp=datetime.now(UTC),
        user="maria",
        operation="clear_queue",
        status=Status.SUCCESS,
        details=details,
        request_id=uuid4(),
    )


def test_a_reason_is_told_where_one_was_given_and_a_crooked_row_has_none():
    assert entry(params={"reason": "INC-7"}).reason == "INC-7"
    assert [entry(**details).reason for details in ({}, {"params": {}}, {"params": "x"}, {"params": None})] == [""] * 4


def test_details_are_cut_at_fifty_characters():
    assert entry(message="x" * 50).summary == "x" * 50
    assert entry(message="x" * 51).summary == "x" * 49 + "…"


def test_an_entry_in_progress_shows_its_parameters():
    assert entry(params={"queue": "emails"}).summary == '{"queue": "emails"}'


def test_an_entry_is_plain_json():
    plain = json.loads(json.dumps(to_plain(entry(role=Role.ADMIN, by_priority={0: 3}))))
    assert plain["status"] == "success"
    assert plain["details"] == {"role": "admin", "by_priority": {"0": 3}}


def test_one_task_is_not_one_tasks():
    assert (count(0, "task"), count(1, "task"), count(1204, "task")) == ("0 tasks", "1 task", "1,204 tasks")


def test_a_number_alone_is_seconds_only_where_a_file_says_it() -> None:
    assert parse_duration("1500", bare_seconds=True) == 1_500
    with pytest.raises(ValueError, match="1500 of what"):
        parse_duration("1500")
