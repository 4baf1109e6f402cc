from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from opsdash.model import AuditEntry, OtherWorker, PauseInfo, QueueStats, Snapshot, Status, WorkerStats
from opsdash.state import SystemStatus
from opsdash.views import rows

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def worker(hostname: str = "w1", **over: object) -> WorkerStats:
    return WorkerStats(hostname=hostname, **{"state": "online", "heartbeat_at": NOW, "uptime_s": 9252.4, **over})  # type: ignore[arg-type]


def entry(**over: object) -> AuditEntry:
    given = {"timestamp": NOW, "user": "maria", "operation": "clear_queue", "status": Status.SUCCESS, "details": {}}
    return AuditEntry(id=uuid.uuid4(), request_id=uuid.uuid4(), **{**given, **over})  # type: ignore[arg-type]


def test_a_workers_uptime_reads_as_an_operator_says_it() -> None:
    assert rows.worker_rows([worker()])[0]["uptime"] == "2h 34m 12s"


def test_workers_that_need_a_look_stand_first_and_those_that_are_gone_last() -> None:
    listed = rows.worker_rows([worker("a", state="offline"), worker("b"), worker("c", state="stalled")])
    assert [row["hostname"] for row in listed] == ["c", "b", "a"]
    assert [row["state"][0] for row in listed] == ["warn", "ok", "bad"]


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
    assert rows.worker_rows([worker(**over)])[0]["pause"] == shown


def test_a_worker_that_works_on_during_a_pause_stands_out_and_is_counted() -> None:
    stopped, goes_on, gone = worker("a", paused=True), worker("b"), worker("c", state="offline")
    listed = rows.worker_rows([stopped, goes_on, gone], paused=True)
    assert [row["pause"][:2] for row in listed] == [["warn", "yes"], ["bad", "not yet"], ["none", "no"]]
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW)
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=pause, workers=(stopped, goes_on, gone)))
    assert rows.pause_story(status).endswith("1 of 2 workers stopped; b has not confirmed yet.")


def test_workers_without_the_plug_in_are_listed_and_stand_first_during_a_pause() -> None:
    others = [OtherWorker(hostname="free", queues=("celery",), active=2), OtherWorker(hostname="told")]
    running = rows.worker_rows([worker("a")], others)
    assert [(row["hostname"], row["pause"]) for row in running[1:]] == [
        ("free", ["none", "not held by opsdash", ""]),
        ("told", ["none", "not held by opsdash", ""]),
    ]
    during = rows.worker_rows([worker("a", paused=True)], others, paused=True)
    assert [(row["hostname"], row["pause"][:2]) for row in during] == [
        ("free", ["bad", "not held by opsdash"]),
        ("told", ["none", "sent cancel_consumer"]),
        ("a", ["warn", "yes"]),
    ]
    assert {column["field"] for column in rows.WORKER_COLUMNS} <= during[0].keys()
    status = SystemStatus()
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker("a"),), others=tuple(others)))
    assert ["Workers online", "3", "of 3"] in rows.figures(status)


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
    assert rows.operation_rows([entry(status=status)])[0]["status"] == [tone, status.value.replace("_", " "), ""]


def test_details_are_cut_at_fifty_characters_and_whole_on_demand() -> None:
    (row,) = rows.operation_rows([entry(details={"message": "m" * 80, "trash_id": "t"})])
    assert len(row["summary"]) == 50
    assert json.loads(row["json"]) == {"message": "m" * 80, "trash_id": "t"}


def test_the_story_of_a_pause_names_who_since_and_until_and_a_foreign_flag_names_nobody() -> None:
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW - timedelta(minutes=5), expires_at=NOW + timedelta(days=1))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=pause))
    assert rows.pause_story(status).startswith("Paused by maria since 12:25 until 2026-11-24 12:30 UTC. ")
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=PauseInfo(queue=None)))
    assert rows.pause_story(status).startswith("Paused by somebody outside opsdash without an end. ")


def test_a_queue_with_its_own_pause_is_named_while_the_rest_runs() -> None:
    status = SystemStatus()
    queues = (QueueStats(name="celery", waiting=0), QueueStats(name="emails", waiting=0))
    status.update(
        Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues={"emails": PauseInfo(queue="emails")})
    )
    assert rows.pause_story(status) == "1 of 2 queues paused: emails"


def test_unknown_figures_are_a_dash_and_never_a_zero() -> None:
    assert {value for _label, value, _unit in rows.figures(SystemStatus())} == {rows.NOT_KNOWN}


def test_offline_workers_count_neither_as_online_nor_as_slots() -> None:
    status = SystemStatus()
    workers = (worker("a", concurrency=4, active=2), worker("b", state="offline", concurrency=8, active=8))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=workers))
    shown = {label: (value, unit) for label, value, unit in rows.figures(status)}
    assert shown["Workers online"] == ("1", "of 2")
    assert shown["Running now"] == ("2", "of 4 slots")
