"""The words of the status strip."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsdash.model import AuditEntry, PauseInfo, Snapshot, Status
from opsdash.state.status import SystemStatus
from opsdash.views import hero

NOW = datetime(2026, 11, 28, 3, 20, tzinfo=UTC)


def entry(status: Status, at: datetime = NOW) -> AuditEntry:
    details = {"params": {"queue": "emails"}}
    return AuditEntry(
        id=uuid.uuid4(),
        request_id=uuid.uuid4(),
        timestamp=at,
        user="pia",
        operation="clear_queue",
        status=status,
        details=details,
    )


def status(*entries: AuditEntry, **over: Any) -> SystemStatus:
    made = SystemStatus()
    made.update(Snapshot(taken_at=NOW, operations=entries, **over))
    return made


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Status.SUCCESS, ["none", "Last: Clear queue emails by pia, 03:20 UTC"]),
        (Status.FAILURE, ["bad", "Last: Clear queue emails by pia, 03:20 UTC, failure"]),
        (Status.IN_PROGRESS, ["info", "Last: Clear queue emails by pia, 03:20 UTC, in progress"]),
    ],
)
def test_without_a_pause_the_strip_says_what_was_done_last_and_how_it_ended(outcome: Status, told: list[str]) -> None:
    assert hero.words(status(entry(outcome), entry(Status.REFUSED)))["verdict"] == told


def test_an_act_of_another_day_has_its_date_and_an_empty_log_says_nothing() -> None:
    old = entry(Status.SUCCESS, NOW.replace(day=27))
    assert hero.words(status(old))["verdict"] == ["none", "Last: Clear queue emails by pia, 2026-11-27 03:20 UTC"]
    assert hero.words(status())["verdict"] == []


def test_while_the_log_is_not_fresh_the_strip_does_not_say_what_was_last_or_is_in_progress() -> None:
    under_way = status(entry(Status.IN_PROGRESS), database_error="gone", silent=("database",), database_age_s=60.0)
    assert hero.words(under_way)["verdict"] == []
    stopped = status(entry(Status.IN_PROGRESS))
    stopped.tick(NOW + timedelta(minutes=1))
    assert hero.words(stopped)["verdict"] == []


def test_a_queue_that_is_paused_alone_is_not_shown_in_the_colour_of_a_deployment_that_runs() -> None:
    running = SystemStatus()
    running.update(Snapshot.example())
    partly = SystemStatus()
    partly.update(Snapshot.example(paused_queues={"emails": PauseInfo(queue="emails", by="pia", at=NOW)}))
    assert [(s.condition, hero.words(s)["tone"]) for s in (running, partly)] == [
        ("RUNNING", "ok"),
        ("PARTLY PAUSED", "warn"),
    ]


def test_while_everything_is_paused_the_strip_says_how_far_that_is_instead() -> None:
    paused = status(entry(Status.SUCCESS), pause=PauseInfo(queue=None, by="pia", at=NOW))
    assert "Last" not in hero.words(paused)["verdict"][1]
