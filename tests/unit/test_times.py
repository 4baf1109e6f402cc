"""Times as somebody asks for them: none of them leaves the calendar on its way to UTC or to a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.errors import fails

from opsdash.errors import Invalid
from opsdash.model import times
from opsdash.operations import ClearTasks, PruneAuditLog
from opsdash.services.audit.query import Filter
from opsdash.text import LONGEST_DURATION_S, chosen_time, parse_duration
from opsdash.views.operations_log import chosen

EDGES = [
    "0001-01-01",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+00:01",
    "3000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59",
]
NUMBERS = ["9" * 5_000, "9" * 25 + "d", "-1", "1e400", "nan", "1_0", "٣", "99999999999999999999"]


@pytest.mark.parametrize("text", [*EDGES, *NUMBERS])
def test_a_time_at_the_edge_of_the_calendar_is_refused_in_one_sentence(text: str):
    with pytest.raises(ValueError, match=r"expected|neither a time") as refused:
        times.typed(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("text", NUMBERS)
def test_a_duration_longer_than_any_that_is_meant_is_refused_in_one_sentence(text: str):
    with pytest.raises(ValueError, match=r"at most 36,500 days|write for example") as refused:
        parse_duration(text)
    assert len(str(refused.value)) < 200


@given(st.text(max_size=60) | st.datetimes(timezones=st.timezones()).map(datetime.isoformat) | st.integers().map(str))
def test_whatever_is_typed_is_a_time_that_can_be_reckoned_with_or_refused(text: str):
    try:
        found = times.typed(text)
    except ValueError:
        return
    assert found.utcoffset() == timedelta(0)
    assert found - timedelta(days=1) < found.astimezone(UTC) < found + timedelta(days=1)


def test_a_time_of_another_day_is_shown_with_its_date():
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert times.clock(noon + timedelta(hours=1, minutes=31), noon) == "13:31 UTC"
    assert times.clock(noon + timedelta(days=1), noon) == "2026-11-29 12:00 UTC"


def test_an_age_and_a_time_without_a_zone_are_understood():
    assert times.typed("2026-11-23T03:00") == datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert times.typed("1970-01-01") == times.EARLIEST
    assert abs((datetime.now(UTC) - times.typed("2h")).total_seconds() - 7_200) < 60
    assert parse_duration(f"{LONGEST_DURATION_S // 86_400}d") == LONGEST_DURATION_S


@pytest.mark.parametrize("text", [edge for edge in EDGES if "T" in edge])
@pytest.mark.parametrize("name", ["since", "until"])
def test_no_filter_of_the_log_holds_a_time_that_a_database_can_not_take(name: str, text: str):
    with pytest.raises(Invalid, match=f"^{name}: expected a time from 1970 to 2999"):
        Filter(**{name: datetime.fromisoformat(text)})


def test_a_filter_of_the_log_names_the_zone_of_its_times():
    with pytest.raises(Invalid, match="with its zone"):
        Filter(since=datetime(2026, 11, 23))  # noqa: DTZ001 - that is the mistake


@pytest.mark.parametrize("since", ["1e9", "yesterday", "9" * 30, "9" * 200, "99999999999", "x" * 1_000])
def test_a_page_that_asks_for_no_possible_time_is_told_which_field_is_wrong(since: str):
    with fails(Invalid, field="From") as refused:
        chosen({"since": since}, datetime.now(UTC))
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("older_than_s", [2**53 - 1, 10**12, -(2**53 - 1), -1])
def test_an_act_on_what_is_older_than_the_calendar_is_refused(older_than_s: int):
    with fails(Invalid, field="older_than_s", changed="nothing"):
        PruneAuditLog(older_than_s=older_than_s)._before()
    if older_than_s < 0:
        with fails(Invalid, field="older_than_s"):
            ClearTasks(queue="celery", older_than_s=older_than_s)._check(None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (3_600, "1 hour"),
        (5_400, "90 minutes"),
        (7_200, "2 hours"),
        (86_400, "24 hours"),
        (172_800, "2 days"),
    ],
)
def test_a_chosen_time_is_said_in_the_largest_unit_that_says_it_exactly(seconds: int, words: str):
    assert chosen_time(seconds) == words
