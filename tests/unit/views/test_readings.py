"""What pages show: one reading per snapshot and role, whose unchanged parts are the same objects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from opsdash.errors import Unavailable
from opsdash.model import FailureOverview, HistoryPoint, QueueStats, Role, Snapshot, WorkerStats
from opsdash.views.hero import why_not
from opsdash.views.readings import PageStatus, Readings

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def snapshot(second: int = 0, **over: Any) -> Snapshot:
    given = {"redis_age_s": 0.0, "database_age_s": 0.0, "queues": (QueueStats(name="celery", waiting=second),)}
    return Snapshot(taken_at=NOW + timedelta(seconds=second), **{**given, **over})


def maker(history: Any = ()) -> Readings:
    def read(_span_s: float) -> Any:
        if isinstance(history, Exception):
            raise history
        return history

    failed = SimpleNamespace(version=lambda: ("1",), overview=FailureOverview)
    broker = SimpleNamespace(identity="redis-a:6379/0")
    known = SimpleNamespace(history=SimpleNamespace(read=read), broker=broker, failed=failed)
    return Readings(known)  # type: ignore[arg-type]


def test_what_did_not_change_is_the_same_object_and_only_what_did_is_another() -> None:
    workers = tuple(
        WorkerStats(hostname=f"w{i:03}", state="online", heartbeat_at=NOW, processed=i, concurrency=4)
        for i in range(500)
    )
    made = maker()
    first = made.of(snapshot(workers=workers), Role.ADMIN).shown
    busier = (replace(workers[0], processed=9), *workers[1:])
    second = made.of(snapshot(1, workers=busier), Role.ADMIN).shown
    assert first["worker_rows"] is not second["worker_rows"]
    pairs = zip(first["worker_rows"], second["worker_rows"], strict=True)
    assert [after["key"] for before, after in pairs if before is not after] == ["w000"]
    assert second["trash_rows"] is first["trash_rows"]
    assert second["sparks"] is first["sparks"]


def test_a_status_takes_a_reading_over_as_a_whole_and_tells_once() -> None:
    status, seen = PageStatus(), []
    status.param.watch(lambda *events: seen.append((status.known, len(status.queue_rows))), ["queue_rows", "known"])
    status.take(maker().of(snapshot(3), Role.ADMIN))
    assert seen == [(True, 1)]


def test_the_strip_says_that_no_figures_come_and_forgets_it_when_they_come_again() -> None:
    made, status = maker(), PageStatus()
    status.take(made.of(Snapshot.example(taken_at=NOW), Role.ADMIN))
    assert (status.hero["word"], status.hero["stale"], status.hero["notices"]) == ("RUNNING", False, [])
    status.tick(NOW + timedelta(seconds=25))
    assert (status.hero["word"], status.hero["tone"], status.hero["stale"]) == ("UNKNOWN", "none", True)
    assert status.hero["notices"] == ["No new figures for 25 s; the page may be out of date"]
    status.tick(NOW + timedelta(seconds=28))
    assert status.hero["story"] == "Last known: nothing paused"
    assert status.hero["notices"] == ["No new figures for 28 s; the page may be out of date"]
    status.take(made.of(Snapshot.example(taken_at=NOW + timedelta(seconds=30)), Role.ADMIN))
    assert (status.hero["word"], status.hero["stale"], status.hero["notices"]) == ("RUNNING", False, [])


def test_one_snapshot_is_read_once_however_many_pages_ask_and_each_role_has_its_own() -> None:
    made, read = maker(), snapshot()
    first = made.of(read, Role.ADMIN)
    assert made.of(read, Role.ADMIN) is first
    acts = {role: [act["name"] for act in made.of(read, role).shown["queue_rows"][0]["acts"]] for role in Role}
    assert acts[Role.VIEWER] == ["peek"]
    assert "clear_queue" in acts[Role.ADMIN]
    assert "Your role is viewer" in why_not(Role.VIEWER)
    assert why_not(Role.ADMIN) == ""


def test_a_read_that_was_overtaken_by_a_newer_one_shows_nothing() -> None:
    made = maker()
    newer = made.of(snapshot(2), Role.ADMIN)
    assert made.of(snapshot(1), Role.ADMIN) is newer
    assert made.of(snapshot(3), Role.ADMIN) is not newer


def test_a_history_that_can_not_be_read_costs_the_lines_and_not_the_figures() -> None:
    shown = maker(Unavailable("Redis did not answer")).of(snapshot(7), Role.ADMIN).shown
    assert shown["figures"]["waiting"] == ["7", "in 1 queue"]
    assert shown["sparks"]["waiting"] is None


def test_throughput_is_the_one_of_the_latest_point() -> None:
    points = tuple(
        HistoryPoint(
            at=NOW + timedelta(seconds=10 * i),
            step=timedelta(seconds=10),
            waiting={"celery": i},
            started_per_s={"celery": float(i)},
        )
        for i in range(3)
    )
    shown = maker(points).of(snapshot(), Role.ADMIN).shown
    assert shown["figures"]["rate"] == ["2", "started/s, 10 s"]
    assert shown["queue_rows"][0]["rate"] == 2.0


def test_a_page_for_which_nothing_is_known_claims_nothing() -> None:
    status = PageStatus()
    assert (status.condition, status.can_pause, dict(status.figures), list(status.queue_rows)) == (
        "UNKNOWN",
        False,
        {},
        [],
    )
