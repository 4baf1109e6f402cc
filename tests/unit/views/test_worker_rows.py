"""Workers and what they run, as rows of a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opsdash.model import OtherWorker, PauseInfo, Role, RunningTask, Snapshot, WorkerStats
from opsdash.state import SystemStatus
from opsdash.views import rows, strip
from opsdash.views.worker_rows import running_rows, worker_rows

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def everybody(_operation: object) -> bool:
    return True


def nobody(_operation: object) -> bool:
    return False


def worker(hostname: str = "w1", **over: object) -> WorkerStats:
    given = {"state": "online", "heartbeat_at": NOW, "uptime_s": 9252.4, "queues": ("celery",), **over}
    return WorkerStats(hostname=hostname, **given)  # type: ignore[arg-type]


def listed(*args: object, **over: object) -> list[rows.Row]:
    """The rows in the order a page shows them."""
    made = worker_rows(*args, **{"may": everybody, **over})  # type: ignore[arg-type]
    return [row for _, row in sorted(made.items(), key=lambda item: (item[1]["rank"], item[0]))]


def test_a_worker_is_told_by_when_it_started_and_a_start_that_only_trembles_stays_as_it_was() -> None:
    (first,) = listed([worker()])
    assert first["since"] == round(NOW.timestamp() - 9252.4)
    trembling = worker(heartbeat_at=NOW + timedelta(seconds=4), uptime_s=9257.3)
    assert worker_rows([trembling], may=nobody, before={"w1": first})["w1"]["since"] == first["since"]
    restarted = worker(heartbeat_at=NOW + timedelta(seconds=4), uptime_s=2)
    assert worker_rows([restarted], may=nobody, before={"w1": first})["w1"]["since"] == round(NOW.timestamp() + 2)


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


def test_a_silent_worker_stands_first_says_since_when_and_its_tasks_still_count() -> None:
    gone = worker("gone", state="silent", silent_s=12.4, active=2, concurrency=2)
    rows_found = listed([worker("a", active=1, concurrency=4), gone])
    assert [row["hostname"] for row in rows_found] == ["gone", "a"]
    assert rows_found[0]["state"] == ["bad", "silent", "for 12s"]
    status = SystemStatus()
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker("a", active=1, concurrency=4), gone)))
    assert strip.figures(status)["busy"] == [3, "of 6"]  # of the same workers that are busy
    assert strip.figures(status)["online"] == [1, "of 2"]


def test_two_processes_of_one_name_have_a_row_each() -> None:
    pair = [worker("w", record="w", pid=1), worker("w", record="w #ab", pid=2)]
    assert {key: row["pid"] for key, row in worker_rows(pair, may=nobody).items()} == {"w": 1, "w #ab": 2}


def test_a_worker_whose_name_looks_like_a_key_of_another_takes_nobodys_place() -> None:
    found = worker_rows([worker("other:w1", pid=1)], [OtherWorker(hostname="w1", queues=("celery",))], may=nobody)
    assert [row["hostname"] for row in found.values()] == ["other:w1", "w1"]


def test_a_worker_that_works_on_during_a_pause_stands_out_and_is_counted() -> None:
    stopped, goes_on, gone = worker("a", paused=True), worker("b"), worker("c", state="offline")
    found = listed([stopped, goes_on, gone], paused=True)
    assert [row["pause"][:2] for row in found] == [["warn", "yes"], ["bad", "not yet"], ["none", "no"]]
    status = SystemStatus()
    pause = PauseInfo(queue=None, by="maria", at=NOW)
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, pause=pause, workers=(stopped, goes_on)))
    assert status.drain == "1 of 2 workers stopped; b has not confirmed yet."
    assert (status.drain_stopped, status.drain_workers) == (1, 2)


def test_workers_without_the_plug_in_are_listed_and_stand_first_during_a_pause() -> None:
    others = [OtherWorker(hostname="free", queues=("celery",), active=2), OtherWorker(hostname="told")]
    running = listed([worker("a")], others)
    assert [(row["hostname"], row["pause"]) for row in running[1:]] == [
        ("free", ["none", "not managed by opsdash", ""]),
        ("told", ["none", "not managed by opsdash", ""]),
    ]
    during = listed([worker("a", paused=True)], others, paused=True)
    assert [(row["hostname"], row["pause"][:2]) for row in during] == [
        ("free", ["bad", "not managed by opsdash"]),
        ("told", ["none", "sent cancel_consumer"]),
        ("a", ["warn", "yes"]),
    ]
    status = SystemStatus()
    status.update(Snapshot(taken_at=NOW, redis_age_s=0, workers=(worker("a"),), others=tuple(others)))
    assert strip.figures(status)["online"] == [3, "of 3"]


@pytest.mark.parametrize(
    ("over", "state", "act"),
    [
        ({}, "online", "quiet_worker"),
        ({"queues": ()}, "quiet", "wake_worker"),
        ({"state": "stalled"}, "stalled", None),
        ({"state": "silent", "silent_s": 12.0}, "silent", "dismiss_worker"),
        ({"state": "offline"}, "offline", "dismiss_worker"),
    ],
)
def test_a_worker_that_takes_no_tasks_is_called_quiet_and_offered_to_be_woken(
    over: dict[str, object], state: str, act: str | None
) -> None:
    (row,) = listed([worker(**over)])
    assert row["state"][1] == state
    assert [one["name"] for one in row.get("acts", ()) if one["usual"]] == ([act] if act else [])
    assert "acts" not in listed([worker(**over)], may=nobody)[0]


@pytest.mark.parametrize(
    ("pool", "menu"),
    [
        ("prefork", ["resize_pool", "autoscale", "restart_pool", "shutdown_worker"]),
        ("gevent", ["resize_pool", "autoscale", "shutdown_worker"]),
        ("threads", ["shutdown_worker"]),
        ("solo", ["shutdown_worker"]),
    ],
)
def test_the_menu_of_a_worker_has_what_its_pool_can_do_and_its_user_may(pool: str, menu: list[str]) -> None:
    (row,) = listed([worker(pool=pool)])
    assert [one["name"] for one in row["acts"] if not one["usual"]] == menu
    (row,) = listed([worker(pool=pool)], may=lambda kind: kind.minimum_role is not Role.ADMIN)
    assert [one["name"] for one in row["acts"] if not one["usual"]] == menu[:-1]


def test_a_worker_without_the_plug_in_is_quieted_and_woken_too_but_not_woken_during_a_pause() -> None:
    others = [OtherWorker(hostname="free", queues=("celery",)), OtherWorker(hostname="told")]
    offered = {row["called"]: [one["name"] for one in row["acts"] if one["usual"]] for row in listed([], others)}
    assert offered == {"free": ["quiet_worker"], "told": ["wake_worker"]}
    during = {row["called"]: row.get("acts") for row in listed([], others, paused=True)}
    assert during["free"]
    assert during["told"] is None


def test_failures_and_load_are_told_and_a_load_that_nobody_knows_is_no_zero() -> None:
    known, unknown = listed([worker("a", failed=3, load=0.25), worker("b")])
    assert (known["failed"], known["load"]) == (3, 0.25)
    assert "load" not in unknown


def test_what_runs_is_told_by_when_it_began_and_offers_to_revoke_it_where_the_role_may() -> None:
    long = RunningTask(task_id="a1", name="shop.charge", queue="emails", started_at=NOW)
    silent = RunningTask(task_id="b2", name="shop.mail", queue="emails")
    first = running_rows([long, silent], may=everybody)
    assert first["a1"]["since"] == NOW.timestamp()
    assert [one["name"] for one in first["a1"]["acts"]] == ["revoke_task"]
    assert first["a1"]["called"] == "shop.charge a1"
    assert "since" not in first["b2"]
    trembling = RunningTask(task_id="a1", name="x", queue="q", started_at=NOW + timedelta(seconds=1.2))
    again = running_rows([trembling], may=nobody, before=first)
    assert again["a1"]["since"] == first["a1"]["since"]
    assert "acts" not in again["a1"]
