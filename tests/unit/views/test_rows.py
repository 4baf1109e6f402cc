from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsdash.model import (
    AuditEntry,
    HeldTasks,
    HistoryPoint,
    Hold,
    ObjectiveStatus,
    OtherWorker,
    PauseInfo,
    QueuePace,
    QueueStats,
    Snapshot,
    Status,
    TenantDrift,
    Wait,
    WorkerStats,
)
from opsdash.state import SystemStatus
from opsdash.views import hero, rows, strip

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def worker(hostname: str = "w1", **over: object) -> WorkerStats:
    given = {"state": "online", "heartbeat_at": NOW, "uptime_s": 9252.4, "queues": ("celery",), **over}
    return WorkerStats(hostname=hostname, **given)  # type: ignore[arg-type]


def entry(**over: object) -> AuditEntry:
    given = {"timestamp": NOW, "user": "maria", "operation": "clear_queue", "status": Status.SUCCESS, "details": {}}
    return AuditEntry(id=uuid.uuid4(), request_id=uuid.uuid4(), **{**given, **over})  # type: ignore[arg-type]


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
    assert "details" not in row


def test_an_entry_whose_duration_is_no_duration_is_shown_without_one() -> None:
    entries = [entry(details={"took_s": value}) for value in (0.25, 10**400, float("nan"), True, "x", [])]
    found = [row.get("took") for one in entries for row in rows.operation_rows([one]).values()]
    assert found == ["0.25 s", None, None, None, None, None]


def test_an_entry_names_its_broker_where_it_is_another_than_this_consoles() -> None:
    entries = [entry(details={"broker": name} if name else {}) for name in ("redis-a:6379/0", "redis-b:6379/0", "")]
    found = rows.operation_rows(entries, here="redis-a:6379/0").values()
    assert [row.get("broker") for row in found] == [None, "redis-b:6379/0", None]


def test_the_story_of_a_pause_names_who_since_and_until_and_a_foreign_flag_names_nobody() -> None:
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW - timedelta(minutes=5), expires_at=NOW + timedelta(days=1))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=pause))
    assert rows.pause_story(status) == "Paused by maria since 12:25 until 2026-11-24 12:30 UTC."
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=PauseInfo(queue=None)))
    assert rows.pause_story(status) == "Paused outside opsdash without an end."


def test_a_queue_with_its_own_pause_is_named_while_the_rest_runs() -> None:
    status = SystemStatus()
    queues = (QueueStats(name="celery", waiting=0), QueueStats(name="emails", waiting=0))
    status.update(
        Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues={"emails": PauseInfo(queue="emails")})
    )
    assert rows.pause_story(status) == "1 of 2 queues paused: emails"
    many = {f"q{number:04}": PauseInfo(queue=f"q{number:04}") for number in range(500)}
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues=many))
    assert rows.pause_story(status).endswith(", q0008, q0009 and 490 more")


def test_unknown_figures_are_left_out_and_never_a_zero() -> None:
    assert strip.figures(SystemStatus()) == {}
    (row,) = rows.operation_rows([entry()]).values()
    assert None not in row.values()


def test_offline_workers_count_neither_as_online_nor_as_slots() -> None:
    status = SystemStatus()
    workers = (worker("a", concurrency=4, active=2), worker("b", state="offline", concurrency=8, active=8))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=workers))
    shown = strip.figures(status)
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
    paused = {"emails": PauseInfo(queue="emails", by="maria", reason="relay down")}
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues=paused))
    found = rows.queue_rows(queues, status, [point(0)], everybody)
    assert [act["name"] for act in found["celery"]["acts"]] == [
        "pause_processing",
        "peek",
        "clear_tasks",
        "clear_queue",
    ]
    first = found["emails"]["acts"][0]
    assert (first["name"], first["label"], first["usual"]) == ("resume_processing", "Resume", True)
    assert [act["name"] for act in found["celery"]["acts"] if not act["usual"]] == ["clear_tasks", "clear_queue"]
    assert found["emails"]["state"] == ["warn", "paused", "by maria, without an end: relay down"]
    assert (found["celery"]["rate"], "rate" in found["emails"]) == (1.5, False)
    seen = rows.queue_rows(queues, status, [], nobody)
    assert {act["name"] for row in seen.values() for act in row["acts"]} == {"peek"}


def test_a_line_has_no_value_where_none_was_recorded() -> None:
    lines = strip.sparks([point(0), point(10, started_per_s={}, redis_ms=None)])
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
    assert moved["tone"] == "warn"
    assert moved["drift"] == ("Changed since 12:30 UTC: 1 tenant more in the database. Last synced 12:30 UTC by maria.")
    left = rows.tenants(2, TenantDrift(rows=2, newest_at=NOW, unreadable=1, keys=3, synced_keys=3, **synced), NOW)
    assert (left["tone"], left["drift"]) == (
        "warn",
        "As of the last sync, 12:30 UTC by maria. 1 orphaned key in Redis, of tenants that are gone from the database;"
        " 1 unreadable row in the database, left out by the last sync.",
    )
    assert rows.tenants(3, TenantDrift(rows=3), NOW)["drift"] == "Not synced yet."
    assert rows.tenants(None, None, NOW) == {
        "words": "tenants",
        "tone": "none",
        "drift": "It is not known whether they differ from Redis.",
    }


def test_in_place_of_tenants_that_nobody_has_stands_how_they_are_turned_on() -> None:
    status = SystemStatus()
    assert (rows.tenants_card(status)["shown"], rows.tenants_card(status)["unused"]) == (False, "")  # nothing is known
    for used, shown in ((False, False), (True, True), (None, True)):
        status.update(Snapshot(taken_at=NOW, tenants_in_use=used))
        card = rows.tenants_card(status)
        assert (card["shown"], bool(card["unused"])) == (shown, used is False)
        assert None not in card.values()


def test_the_oldest_task_of_a_queue_is_told_by_when_it_was_sent_and_stays_while_it_only_trembles() -> None:
    status = SystemStatus()
    queues = (QueueStats(name="celery", waiting=4, oldest_s=90.0), QueueStats(name="emails", waiting=0))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=queues))
    first = rows.queue_rows(queues, status, [], nobody)
    assert first["celery"]["oldest"] == NOW.timestamp() - 90
    assert "oldest" not in first["emails"]
    status.update(Snapshot(taken_at=NOW + timedelta(seconds=5), redis_age_s=0, queues=queues))
    later = (QueueStats(name="celery", waiting=4, oldest_s=96.4),)
    assert rows.queue_rows(later, status, [], nobody, first)["celery"]["oldest"] == first["celery"]["oldest"]
    moved = (QueueStats(name="celery", waiting=4, oldest_s=10.0),)
    assert rows.queue_rows(moved, status, [], nobody, first)["celery"]["oldest"] == NOW.timestamp() - 5


def test_throughput_says_what_it_counts_and_over_how_long_and_an_old_rate_is_none() -> None:
    status = SystemStatus()
    assert strip.figures(status, [point(0)])["rate"] == [1.5, "started/s, 10 s"]
    after_a_gap = [point(0), point(300, started_per_s={})]
    assert "rate" not in strip.figures(status, after_a_gap)
    assert strip.figures(status, [point(0), point(10, started_per_s={})])["rate"] == [1.5, "started/s, 10 s"]


def test_workers_that_are_all_silent_are_not_counted_as_none() -> None:
    status = SystemStatus()
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker(state="silent"),)))
    assert "online" not in strip.figures(status)
    lines = strip.sparks([point(0, online=2, active=1), point(10, online=None, active=None, waiting={})])
    at = round(NOW.timestamp())
    assert [lines[name] for name in ("online", "busy", "waiting")] == [
        [[at, 2], [at + 10]],
        [[at, 1], [at + 10]],
        [[at, 4], [at + 10]],
    ]


def test_a_queue_that_can_not_be_read_has_no_number_and_is_told_beside_the_sum() -> None:
    status = SystemStatus()
    queues = (QueueStats(name="celery", waiting=4), QueueStats(name="odd", waiting=0, error="not a list: odd"))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=queues))
    assert strip.figures(status)["waiting"] == [4, "in 1 queue, 1 unreadable"]
    assert "waiting" not in rows.queue_rows(queues, status, [], nobody)["odd"]


def test_failures_are_counted_over_what_was_recorded_with_their_share_of_the_tasks() -> None:
    status, points = SystemStatus(), [point(0, failed_per_s=0.3), point(10, failed_per_s=0.0), point(20)]
    assert strip.figures(status, points)["failed"] == [3, "≈ 10 % of started, 20s seen"]
    rare = [point(0, failed_per_s=0.1, started_per_s={"celery": 25.0})]
    assert strip.figures(status, rare)["failed"] == [1, "≈ 0.4 % of started, 10s seen"]
    assert strip.figures(status, [point(0, failed_per_s=0.0)])["failed"] == [0, "10s seen"]
    whole = [point(10 * n, failed_per_s=0.0) for n in range(90)]
    assert strip.figures(status, whole)["failed"] == [0, ""], "nothing is missing"
    assert "failed" not in strip.figures(status, [point(0)])
    at = round(NOW.timestamp())
    assert strip.sparks(points)["failed"] == [[at, 0.3], [at + 10, 0.0], [at + 20]]


def test_a_worker_that_takes_no_tasks_is_counted_beside_those_that_do() -> None:
    status = SystemStatus()
    both = (worker("a"), worker("b", queues=()))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=both))
    assert strip.figures(status)["online"] == [2, "of 2, 1 takes no tasks"]
    assert rows.pause_story(status) == "1 of 2 workers needs attention: 1 quiet"
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=both[1:]))
    assert rows.pause_story(status) == "No worker takes tasks: new tasks wait"


def test_the_state_says_what_is_held() -> None:
    status = SystemStatus()
    holds = tuple(
        HeldTasks(hold=Hold(id=name, kind=kind, name=name), held=held)
        for name, kind, held in (("shop.*", "task", 2), ("acme", "tenant", 310))
    )
    old = replace(holds[1], oldest_at=NOW - timedelta(minutes=14))
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker("a"),), holds=(holds[0], old)))
    assert rows.pause_story(status) == "Held: shop.*, tenant acme: 312 tasks, oldest 14 minutes"
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker("a"),), holds=holds))
    assert rows.pause_story(status) == "Held: shop.*, tenant acme: 312 tasks"
    own = {"emails": PauseInfo(queue="emails", by="maria", at=NOW, expires_at=None)}
    queues = (QueueStats(name="emails", waiting=0),)
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=queues, paused_queues=own, holds=holds[:1]))
    assert rows.pause_story(status) == "1 of 1 queues paused: emails. Held: shop.*: 2 tasks"


@pytest.mark.parametrize(
    ("workers", "others", "said", "tone"),
    [
        ({"a": "online"}, (), "Workers pick up tasks from every queue", "ok"),
        (
            {"a": "online", "b": "stalled", "c": "offline"},
            (),
            "2 of 3 workers need attention: 1 stalled, 1 offline",
            "bad",
        ),
        ({"a": "online", "b": "offline"}, (), "1 of 2 workers needs attention: 1 offline", "bad"),
        ({"a": "offline"}, (), "No worker is online: new tasks wait", "bad"),
        ({}, (OtherWorker(hostname="free", queues=("celery",)),), "Workers pick up tasks from every queue", "ok"),
        ({}, None, "Workers pick up tasks from every queue", "ok"),
    ],
)
def test_the_state_says_in_words_when_workers_need_a_look(
    workers: dict[str, str], others: tuple[OtherWorker, ...] | None, said: str, tone: str
) -> None:
    status = SystemStatus()
    known = tuple(worker(name, state=state) for name, state in workers.items())
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=known, others=others))
    assert (rows.pause_story(status), rows.status_tone(status)) == (said, tone)


@pytest.mark.parametrize("why", ["Redis at x: refused", ""])
def test_a_state_that_is_old_says_what_was_known_last_and_an_outage_is_told_once(why: str) -> None:
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW - timedelta(minutes=5), expires_at=NOW + timedelta(hours=1))
    own = {"emails": PauseInfo(queue="emails", by="maria", at=NOW, expires_at=None)}
    for held, paused_queues, told in (
        (None, {}, "Last known: nothing paused"),
        (None, own, "Last known: 1 of 1 queues paused: emails"),
        (pause, {}, "Paused by maria since 12:25 until 13:30 UTC."),
    ):
        of = Snapshot(
            taken_at=NOW, redis_age_s=10.4, pause=held, paused_queues=paused_queues, redis_error=why, silent=("redis",),
            queues=(QueueStats(name="emails", waiting=0),),
        )  # fmt: skip
        status.update(of)
        if not why:
            status.tick(NOW + timedelta(seconds=60))
        shown = hero.words(status)
        assert shown["story"] == told
        said = " ".join([shown["story"], *shown["verdict"], *(text for _, text, _ in shown["chips"])])
        assert "Redis" not in said
        assert "figures" not in said
        assert len(shown["notices"]) == 1


def test_a_queue_that_no_worker_takes_tasks_from_is_shown_as_such_unless_it_is_paused() -> None:
    status = SystemStatus()
    queues = [QueueStats(name="lost", waiting=1, consumed=False), QueueStats(name="asked", waiting=1)]
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=tuple(queues)))
    found = rows.queue_rows(queues, status, [], lambda _: True)
    assert found["lost"]["state"] == ["warn", "no consumer", "no worker takes tasks from it"]
    assert found["asked"]["state"] == ["ok", "running", ""]
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, queues=tuple(queues), pause=PauseInfo(queue=None)))
    assert rows.queue_rows(queues, status, [], lambda _: True)["lost"]["state"][1] == "paused"


def test_a_queues_row_says_how_long_its_tasks_wait_and_how_the_objective_is_kept() -> None:
    wait = Wait(span_s=300, tasks=40, p50_s=0.4, p95_s=2.3, p99_s=80.0)
    missed = ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=3_600, share=0.9, tasks=400)
    paces = {
        "emails": QueuePace(waits=(wait,), objective=missed, falling_behind=True),
        "reports": QueuePace(waits=(wait,), drained_in_s=734.0, falling_behind=False),
        "new": QueuePace(objective=ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=3_600)),
        "idle": None,
    }
    queues = [QueueStats(name=name, waiting=10, pace=pace) for name, pace in paces.items()]
    found = {name: row.get("wait") for name, row in rows.queue_rows(queues, SystemStatus(), (), nobody).items()}
    assert found == {
        "emails": ["bad", "p95 2.3 s", "95 % within 30s over 1h: 90 %; falling behind; p50 0.4 s, p99 80 s"],
        "reports": ["none", "p95 2.3 s", "drained in about 12 min; p50 0.4 s, p99 80 s"],
        "new": ["none", "95 % within 30s over 1h: not known", ""],
        "idle": None,
    }
