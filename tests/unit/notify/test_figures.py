"""What a user learns of notifications that could not be sent: on the page, and in `opsdash status`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opsdash.cli.summary import summarize
from opsdash.model import NotificationFigures, Snapshot
from opsdash.state import SystemStatus

NOW = datetime.now(UTC)
GIVEN_UP = NotificationFigures(sent=5, given_up=2, given_up_at=NOW - timedelta(hours=1))
STUCK = NotificationFigures(waiting=3, oldest_s=1_200.0, problem="mailto://mail.example: connection refused")


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        (GIVEN_UP, "2 notifications could not be sent and were given up, the last at"),
        (STUCK, "3 notifications can't be sent for 20m 0s; mailto://mail.example: connection refused"),
    ],
)
def test_notifications_that_were_not_taken_are_on_the_page_and_in_the_status(
    figures: NotificationFigures, says: str
) -> None:
    snapshot = Snapshot.example(notifications=figures)
    status = SystemStatus()
    status.update(snapshot)
    assert [one for one in status.stale if one.startswith(says)]
    warnings = summarize(snapshot, "redis://broker", "broker", None).warnings
    assert [one for one in warnings if one.startswith(says) and one.endswith(": opsdash notify")]


@pytest.mark.parametrize(
    "figures",
    [
        None,
        NotificationFigures(sent=9),
        NotificationFigures(waiting=3, oldest_s=20.0, problem="mailto://mail.example: connection refused"),
        NotificationFigures(waiting=3, oldest_s=9_000.0),  # they wait for the end of quiet hours
        NotificationFigures(given_up=2, given_up_at=NOW - timedelta(days=2)),
    ],
)
def test_what_goes_its_way_is_no_warning(figures: NotificationFigures | None) -> None:
    snapshot = Snapshot.example(notifications=figures)
    status = SystemStatus()
    status.update(snapshot)
    assert status.stale == ()
    assert [one for one in summarize(snapshot, "redis://broker", "broker", None).warnings if "otification" in one] == []
