"""Failed tasks as rows: what a group and a task say, and which buttons they have for whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from opsdash.model import Failure, FailureGroup, FailureOverview, Role
from opsdash.views import failure_rows

NOW = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)


def group(**over: Any) -> FailureGroup:
    given = {
        "fingerprint": "0a", "kind": "failed", "task": "shop.charge", "error": "Declined", "place": "charge in a.py",
        "count": 9, "kept": 7, "first_at": NOW - timedelta(hours=5), "last_at": NOW,
    }  # fmt: skip
    return FailureGroup(**{**given, **over})


def failure(**over: Any) -> Failure:
    return Failure(**{"id": "a", "version": "1", "kind": "failed", "at": NOW, "first_at": NOW, "task_id": "a", **over})


def may_as(role: Role) -> Any:
    return lambda operation: role >= operation.minimum_role


def names(row: dict[str, Any]) -> list[str]:
    return [act["name"] for act in row.get("acts") or ()]


def test_a_group_says_how_often_it_comes_lately_and_draws_the_last_24_hours():
    hours = {HOUR: 3, HOUR - timedelta(hours=1): 6, HOUR - timedelta(hours=30): 50}
    row = failure_rows.group_rows([group(hours=hours)], may=may_as(Role.ADMIN), now=NOW)["0a"]
    assert row["per_hour"] == 6.0, "nine in an hour and a half"
    assert row["hours"][2].endswith("least 0, most 6"), "what is older is not in the line"
    assert group(hours={HOUR: 5}, first_at=NOW - timedelta(seconds=3)).per_hour(NOW) == 5.0, (
        "five within seconds are no three hundred an hour"
    )


def test_a_group_that_was_only_counted_has_no_buttons_and_says_so():
    expired = group(kind="expired", error="", kept=0, count=12)
    row = failure_rows.group_rows([expired], may=may_as(Role.ADMIN), now=NOW)["0a"]
    assert (row["error"], names(row)) == ("expired", [])
    (line,) = failure_rows.facts_of_group(row)
    assert line[1].startswith("0 of 12 failures kept")


def test_a_viewer_has_no_button_an_operator_two_and_an_admin_edits_too():
    for role, expected in (
        (Role.VIEWER, []),
        (Role.OPERATOR, ["retry_failed", "discard_failed"]),
        (Role.ADMIN, ["retry_failed", "discard_failed", "edit_failed"]),
    ):
        row = failure_rows.entry_rows([failure(sendable=True)], may=may_as(role))["a"]
        assert names(row) == expected
    assert names(failure_rows.entry_rows([failure(too_large=True)], may=may_as(Role.ADMIN))["a"]) == ["discard_failed"]


def test_an_opened_task_says_why_it_can_not_be_sent_again_and_shows_its_traceback_as_it_is():
    lines = failure_rows.facts_of_entry(failure(too_large=True, traceback="Traceback\n  here", times=3, chord=True))
    assert "too large to be kept" in lines[0][1]
    assert "a member of one" in lines[0][1]
    assert lines[-1] == ["code", "Traceback\n  here"]


def test_the_card_says_how_many_are_kept_and_what_is_not_shown():
    many = tuple(group(fingerprint=f"{n:x}") for n in range(250))
    card = failure_rows.card(FailureOverview(total=1_750, not_kept=20, groups=many))
    assert card["note"] == (
        "1,750 failed tasks kept; 20 more were counted and not kept; the 200 of 250 groups that came last"
    )
    assert len(failure_rows.group_rows(many, may=may_as(Role.ADMIN), now=NOW)) == 200
    assert failure_rows.card(FailureOverview()) == {"total": 0, "note": ""}
