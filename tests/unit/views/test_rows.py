from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsdash.model import (
    AuditEntry,
    HistoryPoint,
    OtherWorker,
    PauseInfo,
    QueueStats,
    Snapshot,
    Status,
    TenantDrift,
    WorkerStats,
)
from opsdash.state import SystemStatus
from opsdash.views import rows

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def worker(hostname: str = "w1", **over: object) -> WorkerStats:
    return WorkerStats(hostname=hostname, **{"state": "online", "heartbeat_at": NOW, "uptime_s": 9252.4, **over})  # type: ignore[arg-type]


def entry(**over: object) -> AuditEntry:
    given = {"timestamp": NOW, "user": "maria", "operation": "clear_queue", "status": Status.SUCCESS, "details": {}}
    return AuditEntry(id=uuid.uuid4(), request_id=uuid.uuid4(), **{**given, **over})  # type: ignore[arg-type]


def listed(*args: object, **over: object) -> list[rows.Row]:
    """The rows in the order a page shows them."""
    made = rows.worker_rows(*args, **over)  # type: ignore[arg-type]
    return [row for _, row in sorted(made.items(), key=lambda item: (item[1]["rank"], item[0]))]


def test_a_worker_is_told_by_when_it_started_and_a_start_that_only_trembles_stays_as_it_was() -> None:
    (first,) = listed([worker()])
    assert first["since"] == round(NOW.timestamp() - 9252.4)
    trembling = worker(heartbeat_at=NOW + timedelta(seconds=4), uptime_s=9257.3)
    assert rows.worker_rows([trembling], before={"w1": first})["w1"]["since"] == first["since"]
    restarted = worker(heartbeat_at=NOW + timedelta(seconds=4), uptime_s=2)
    assert rows.worker_rows([restarted], before={"w1": first})["w1"]["since"] == round(NOW.timestamp() + 2)


def test_workers_that_need_a_look_stand_first_and_those_that_are_gone_last() -> None:
    found = listed([worker("a", state="offline"), worker("b"), worker("c", state="stalled")])
    assert [row["hostname"] for row in found] == ["c", "b", "a"]
    assert [row["state"][0] for row in found] == ["warn", "ok", "bad"]


@pytest.mark.parametrize(
    ("over", "shown"),
    [
        ({}, ["none", "no", ""]),
        ({"paused": True}, ["warn", "yes", ""]),
        ({"paused_queues": ("emails",)}, ["warn", "in part", "emails"]),
        ({"paused": True, "pausing": "no Redis broker"}, ["bad", "can't pause", "no Redis broker"]),
    ],
)
def test_whether_a_worker_has_applied_the_pause_is_said_in_a_word(over: dict[str, object], shown: list[str]) -> None:
    assert listed([worker(**over)])[0]["pause"] == shown


def test_a_worker_that_works_on_during_a_pause_stands_out_and_is_counted() -> None:
    stopped, goes_on, gone = worker("a", paused=True), worker("b"), worker("c", state="offline")
    found = listed([stopped, goes_on, gone], paused=True)
    assert [row["pause"][:2] for row in found] == [["warn", "yes"], ["bad", "not yet"], ["none", "no"]]
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW)
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=pause, workers=(stopped, goes_on, gone)))
    assert status.drain == "1 of 2 workers stopped; b has not confirmed yet."
    assert (status.drain_stopped, status.drain_workers) == (1, 2)


def test_workers_without_the_plug_in_are_listed_and_stand_first_during_a_pause() -> None:
    others = [OtherWorker(hostname="free", queues=("celery",), active=2), OtherWorker(hostname="told")]
    running = listed([worker("a")], others)
    assert [(row["hostname"], row["pause"]) for row in running[1:]] == [
        ("free", ["none", "not held by opsdash", ""]),
        ("told", ["none", "not held by opsdash", ""]),
    ]
    during = listed([worker("a", paused=True)], others, paused=True)
    assert [(row["hostname"], row["pause"][:2]) for row in during] == [
        ("free", ["bad", "not held by opsdash"]),
        ("told", ["none", "sent cancel_consumer"]),
        ("a", ["warn", "yes"]),
    ]
    status = SystemStatus()
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker("a"),), others=tuple(others)))
    assert rows.figures(status)["online"] == [3, "of 3"]


@pytest.mark.parametrize(
    ("status", "tone"),
    [
        (Status.SUCCESS, "ok"),
        (Status.FAILURE, "bad"),
        (Status.REFUSED, "bad"),
        (Status.IN_PROGRESS, "info"),
        (Status.UNKNOWN, "warn"),
    ],
)
def test_every_status_has_its_colour_and_its_word(status: Status, tone: str) -> None:
    (row,) = rows.operation_rows([entry(status=status)]).values()
    assert row["status"] == [tone, status.value.replace("_", " "), ""]


def test_details_are_cut_at_fifty_characters_and_whole_on_demand() -> None:
    (row,) = rows.operation_rows([entry(details={"message": "m" * 80, "trash_id": "t"})]).values()
    assert len(row["summary"]) == 50
    assert json.loads(row["json"]) == {"message": "m" * 80, "trash_id": "t"}


def test_the_story_of_a_pause_names_who_since_and_until_and_a_foreign_flag_names_nobody() -> None:
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW - timedelta(minutes=5), expires_at=NOW + timedelta(days=1))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=pause))
    assert rows.pause_story(status) == "Paused by maria since 12:25 until 2026-11-24 12:30 UTC."
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=PauseInfo(queue=None)))
    assert rows.pause_story(status) == "Paused by somebody outside opsdash without an end."


def test_a_queue_with_its_own_pause_is_named_while_the_rest_runs() -> None:
    status = SystemStatus()
    queues = (QueueStats(name="celery", waiting=0), QueueStats(name="emails", waiting=0))
    status.update(
        Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues={"emails": PauseInfo(queue="emails")})
    )
    assert rows.pause_story(status) == "1 of 2 queues paused: emails"


def test_unknown_figures_are_left_out_and_never_a_zero() -> None:
    assert rows.figures(SystemStatus()) == {}
    (row,) = rows.operation_rows([entry()]).values()
    assert None not in row.values()


def test_offline_workers_count_neither_as_online_nor_as_slots() -> None:
    status = SystemStatus()
    workers = (worker("a", concurrency=4, active=2), worker("b", state="offline", concurrency=8, active=8))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=workers))
    shown = rows.figures(status)
    assert shown["online"] == [1, "of 2"]
    assert shown["busy"] == [2, "of 4"]


def everybody(_operation: object) -> bool:
    return True


def nobody(_operation: object) -> bool:
    return False


def point(at_s: int, **over: Any) -> HistoryPoint:
    return HistoryPoint(
        at=NOW + timedelta(seconds=at_s),
        step=timedelta(seconds=10),
        **{"waiting": {"celery": 4}, "started_per_s": {"celery": 1.5}, **over},
    )


def test_a_queue_offers_what_its_state_and_the_role_allow() -> None:
    status = SystemStatus()
    queues = (QueueStats(name="celery", waiting=4), QueueStats(name="emails", waiting=0))
    held = {"emails": PauseInfo(queue="emails", by="maria", reason="relay down")}
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues=held))
    found = rows.queue_rows(queues, status, [point(0)], everybody)
    assert [name for name, *_ in found["celery"]["acts"]] == ["pause_processing", "peek", "clear_tasks", "clear_queue"]
    assert found["emails"]["acts"][0][:2] == ["resume_processing", "Resume"]
    assert found["emails"]["state"] == ["warn", "paused", "by maria, without an end: relay down"]
    assert (found["celery"]["rate"], "rate" in found["emails"]) == (1.5, False)
    seen = rows.queue_rows(queues, status, [], nobody)
    assert {name for row in seen.values() for name, *_ in row["acts"]} == {"peek"}


def test_a_line_has_no_value_where_none_was_recorded() -> None:
    lines = rows.sparks([point(0), point(10, started_per_s={}, redis_ms=None)])
    at = round(NOW.timestamp())
    assert lines["waiting"] == [[at, 4], [at + 10, 4]]
    assert lines["rate"] == [[at, 1.5], [at + 10]]
    assert lines["redis_ms"] == [[at], [at + 10]]


@pytest.mark.parametrize(
    ("name", "risk"),
    [
        ("production", "high"),
        ("EU-Prod-2", "high"),
        ("preprod", "medium"),
        ("staging", "medium"),
        ("demo", "low"),
        ("blue", "none"),
        ("", "none"),
    ],
)
def test_an_environment_is_as_risky_as_its_name_says(name: str, risk: str) -> None:
    assert rows.environment_risk(name) == risk


def test_tenants_say_whether_the_database_has_moved_on_since_the_last_sync() -> None:
    synced = {"synced_rows": 2, "synced_newest_at": NOW, "synced_at": NOW, "synced_by": "maria"}
    assert (
        rows.tenants(2, TenantDrift(rows=2, newest_at=NOW, **synced), NOW)["drift"]
        == "As of the last sync, 12:30 UTC by maria."
    )
    moved = rows.tenants(3, TenantDrift(rows=3, newest_at=NOW, since=NOW, **synced), NOW)
    assert (moved["tone"], moved["drift"]) == ("warn", "Changed since 12:30 UTC; last synced 12:30 UTC by maria.")
    assert rows.tenants(3, TenantDrift(rows=3), NOW)["drift"] == "Not synced yet."
    assert rows.tenants(None, None, NOW) == {
        "words": "tenants",
        "tone": "none",
        "drift": "Whether they differ from Redis is not known.",
    }
