from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opsdash.model import Disagreement, PauseInfo, QueueStats, Snapshot, WorkerStats
from opsdash.state import SystemStatus

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
QUEUES = (QueueStats(name="emails", waiting=3), QueueStats(name="celery", waiting=7))

PAUSE = PauseInfo(queue=None, by="maria", reason="deploy", at=NOW, expires_at=None, epoch=3)


def worker(**over: object) -> WorkerStats:
    return WorkerStats(**{"hostname": "w1", "state": "online", "heartbeat_at": NOW, "queues": ("emails",), **over})


def snapshot(**over: object) -> Snapshot:
    return Snapshot(**{"taken_at": NOW, "redis_age_s": 0.1, "database_age_s": 0.1, "queues": QUEUES, **over})  # type: ignore[arg-type]


def test_before_the_first_figures_it_claims_neither_running_nor_paused() -> None:
    status = SystemStatus()
    assert status.processing_status == "UNKNOWN"
    assert not status.can_pause
    assert not status.can_resume
    assert status.pending_tasks is None


def test_what_runs_can_be_paused_and_what_is_paused_can_be_resumed() -> None:
    status = SystemStatus()
    status.update(snapshot())
    assert (status.processing_status, status.can_pause, status.can_resume) == ("RUNNING", True, False)
    status.update(snapshot(pause=PAUSE))
    assert (status.processing_status, status.can_pause, status.can_resume) == ("PAUSED", False, True)


def test_nobody_but_a_snapshot_says_that_it_is_paused() -> None:
    status = SystemStatus()
    status.update(snapshot())
    told = {"paused": True, "processing_status": "PAUSED", "condition": "PAUSED", "queues": [1], "pending_tasks": 1}
    for name, value in told.items():
        with pytest.raises(TypeError, match="cannot be modified"):
            setattr(status, name, value)
    assert status.processing_status == "RUNNING"


@pytest.mark.parametrize(
    ("over", "condition"),
    [
        ({"redis_age_s": None}, "UNKNOWN"),
        ({"others": (), "workers": (worker(),)}, "RUNNING"),
        ({"others": ()}, "DEGRADED"),
        ({"others": None}, "RUNNING"),
        ({"others": (), "workers": (worker(), worker(hostname="w2", state="silent"))}, "DEGRADED"),
        ({"others": (), "workers": (worker(),), "paused_queues": {"emails": PAUSE}}, "PARTLY PAUSED"),
        ({"pause": PAUSE, "paused_queues": {"emails": PAUSE}}, "PAUSED"),
        ({"redis_error": "Redis did not answer", "redis_age_s": 12.0}, "UNKNOWN"),
        ({"pause": PAUSE, "redis_error": "Redis did not answer", "redis_age_s": 12.0}, "PAUSED"),
    ],
)
def test_the_condition_is_running_only_where_nothing_needs_a_look(over: dict[str, object], condition: str) -> None:
    status = SystemStatus()
    status.update(snapshot(**over))
    assert status.condition == condition


def test_a_queue_that_nobody_knows_can_not_be_chosen() -> None:
    status = SystemStatus(selected_queue="emails")
    status.update(snapshot())
    with pytest.raises(ValueError, match="emailz"):
        status.selected_queue = "emailz"
    assert status.selected_queue == "emails"


def test_a_pause_is_shown_with_who_why_since_and_until_and_goes_as_a_whole() -> None:
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", reason="deploy", at=NOW, expires_at=NOW + timedelta(hours=1), epoch=3)
    status.update(snapshot(pause=pause))
    assert (status.pause_by, status.pause_reason, status.pause_since) == ("maria", "deploy", NOW)
    assert status.pause_until == NOW + timedelta(hours=1)
    status.update(snapshot())
    assert (status.pause_by, status.pause_reason, status.pause_since, status.pause_until) == ("", "", None, None)


def test_the_pending_tasks_are_those_of_the_chosen_queue() -> None:
    status = SystemStatus()
    status.update(snapshot())
    assert (status.selected_queue, status.pending_tasks) == ("celery", 7)
    status.selected_queue = "emails"
    assert status.pending_tasks == 3
    status.update(snapshot(queues=(QueueStats(name="emails", waiting=4),)))
    assert (status.selected_queue, status.pending_tasks) == ("emails", 4)


def test_a_chosen_queue_that_is_gone_gives_way_to_one_that_exists() -> None:
    status = SystemStatus()
    status.update(snapshot())
    status.update(snapshot(queues=(QueueStats(name="reports", waiting=1),)))
    assert (status.selected_queue, status.pending_tasks) == ("reports", 1)


def test_redis_that_was_never_read_leaves_the_figures_unknown() -> None:
    status = SystemStatus()
    status.update(snapshot(redis_age_s=None, redis_error="connection refused", silent=("redis",)))
    assert status.processing_status == "UNKNOWN"
    assert status.pending_tasks is None
    assert status.stale == ("Redis did not answer; nothing is known yet",)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({}, ()),
        (
            {"redis_error": "Connection refused.", "silent": ("redis",), "redis_age_s": 14.2},
            ("Redis did not answer; figures are 14 s old",),
        ),
        ({"redis_error": "It wants a password.", "redis_age_s": 14.2}, ("It wants a password; figures are 14 s old",)),
        (
            {"database_error": "gone", "silent": ("database",), "database_age_s": 5},
            ("The database did not answer; the log is 5 s old",),
        ),
        (
            {"database_error": "It lacks a table.", "silent": ("tenants",), "database_age_s": 5},
            ("It lacks a table; the log is 5 s old",),
        ),
        (
            {"tenants_error": "gone", "silent": ("tenants",), "tenants_age_s": 5},
            ("The tenants' database did not answer; the tenants are 5 s old",),
        ),
    ],
)
def test_what_is_old_is_called_old_with_its_age(over: dict[str, object], said: tuple[str, ...]) -> None:
    status = SystemStatus()
    status.update(snapshot(**over))
    assert status.stale == said


def test_figures_that_stop_coming_are_noticed_and_forgiven_when_they_come_again() -> None:
    status = SystemStatus()
    status.tick(NOW)
    assert status.stale == ()
    status.update(snapshot())
    status.tick(NOW + timedelta(seconds=9))
    assert status.stale == ()
    status.tick(NOW + timedelta(seconds=25))
    assert status.stale == ("No new figures for 25 s; the page may be out of date",)
    status.update(snapshot(taken_at=NOW + timedelta(seconds=26)))
    assert status.stale == ()


def test_a_pause_is_not_called_safe_once_no_figures_come() -> None:
    status = SystemStatus()
    status.update(Snapshot.example(taken_at=NOW, pause=PAUSE))
    assert (status.safe, bool(status.drain)) == (True, True)
    status.tick(NOW + timedelta(seconds=25))
    assert (status.safe, status.drain) == (False, "")
    assert status.paused


def test_watchers_see_one_consistent_state_per_snapshot() -> None:
    status, seen = SystemStatus(), []
    status.param.watch(lambda *_: seen.append((status.paused, status.pause_by)), ["paused", "pause_by"])
    status.update(snapshot(pause=PauseInfo(queue=None, by="maria")))
    assert seen == [(True, "maria")]


def test_a_snapshot_is_one_event_with_what_follows_from_it() -> None:
    status, seen = SystemStatus(selected_queue="celery"), []

    def watch(*events: object) -> None:
        seen.append((status.pending_tasks, status.queue("celery").waiting, status.paused, status.can_resume))

    status.param.watch(watch, ["queues", "pending_tasks", "paused", "processing_status", "condition", "can_resume"])
    for number in (1, 2):
        status.update(Snapshot.example(pause=PAUSE, queues=(QueueStats(name="celery", waiting=number),)))
    assert seen == [(1, 1, True, True), (2, 2, True, True)]


def test_a_disagreement_about_the_layout_stands_on_the_page_while_it_lasts():
    status = SystemStatus()
    conflict = Disagreement(fact="db", said={"0": ("OPSDASH_REDIS_URL",), "1": ("the Celery app",)}, setting="S")
    status.update(Snapshot(taken_at=NOW, redis_age_s=0.0, layout_conflicts=(conflict,)))
    assert status.stale == (conflict.message.rstrip("."),)
    status.update(Snapshot(taken_at=NOW, redis_age_s=0.0))
    assert status.stale == ()


def test_the_example_of_a_snapshot_is_a_deployment_that_is_well() -> None:
    status = SystemStatus()
    status.update(Snapshot.example())
    assert (status.condition, status.stale, status.can_pause) == ("RUNNING", (), True)
    assert {queue.name: queue.waiting for queue in status.queues} == {"celery": 0, "emails": 3}


def test_the_example_of_a_pause_is_paused_everywhere() -> None:
    everything = Snapshot.example(pause=PAUSE)
    assert [queue.paused for queue in everything.queues] == [True, True]
    assert everything.workers[0].paused
    one = Snapshot.example(paused_queues={"emails": PAUSE})
    assert {queue.name: queue.paused for queue in one.queues} == {"celery": False, "emails": True}
    assert one.workers[0].paused_queues == ("emails",)
    status = SystemStatus()
    status.update(one)
    assert status.condition == "PARTLY PAUSED"


def test_a_field_of_the_example_is_replaced_by_what_is_given() -> None:
    assert Snapshot.example(taken_at=NOW, queues=QUEUES, workers=()).workers == ()
    assert Snapshot.example(taken_at=NOW).workers[0].heartbeat_at == NOW
    with pytest.raises(TypeError, match="paussed"):
        Snapshot.example(paussed=True)
