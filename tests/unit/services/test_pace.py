"""Histograms of workers that come and go, and what is said of a queue by its history."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from opsdash.model import HistoryPoint, ObjectiveStatus, QueuePace, Wait
from opsdash.model.time_in_queue import Objective, TimeInQueue, bucket_of
from opsdash.services.monitoring import pace, pace_text, times_in_queue
from opsdash.services.monitoring.history import Series
from opsdash.services.monitoring.pace import Paces, trend
from opsdash.services.monitoring.times_in_queue import TimesInQueue
from opsdash.services.workers.reports import ReportedTimes

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=10)


def histogram(*seconds: float, unknown: int = 0) -> TimeInQueue:
    counts = list(TimeInQueue().counts)
    for one in seconds:
        counts[bucket_of(one)] += 1
    return TimeInQueue(tuple(counts), sum(seconds), unknown=unknown)


def report(process: str, *seconds: float, uptime_s: float = 1_000, silent_s: float = 0) -> ReportedTimes:
    return ReportedTimes(
        process=process, uptime_s=uptime_s, silent_s=silent_s, by_queue={"emails": histogram(*seconds)}
    )


def test_what_was_measured_before_this_console_looked_is_left_out() -> None:
    times = TimesInQueue()
    times.note([report("w1", 1, 2)])
    assert times.totals() == {}
    times.note([report("w1", 1, 2, 3)])
    assert times.totals()["emails"].counts == histogram(3).counts


def test_a_worker_that_was_restarted_counts_from_0_and_nothing_is_lost_or_doubled(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    times = TimesInQueue()
    times.note([report("w1 a", 1)])
    now += 2
    times.note([report("w1 a", 1, 2)])
    now += 2
    times.note([report("w1 b", 5, uptime_s=1.0)])  # killed, and started again
    assert times.totals()["emails"].counts == histogram(2, 5).counts
    now += 2
    times.note([report("w1 b", 5, 7, uptime_s=3.0)])
    assert times.totals()["emails"].counts == histogram(2, 5, 7).counts


def test_a_worker_that_was_away_and_comes_back_is_not_counted_twice(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    times = TimesInQueue()
    times.note([report("w1", 1)])
    times.note([])
    now += 2
    times.note([report("w1", 1, 2, uptime_s=500)])
    assert times.totals() == {}


def test_the_same_report_again_adds_nothing() -> None:
    times = TimesInQueue()
    times.note([report("w1")])
    one = report("w1", 4)
    for _ in range(3):
        times.note([one])
    assert times.totals()["emails"].tasks == 1


def test_one_worker_that_was_there_before_keeps_no_other_from_counting(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    times = TimesInQueue()
    times.note([])
    now += 10
    times.note([report("old", 1, uptime_s=10.6), report("new", 2, uptime_s=8.0, silent_s=2.5)])
    assert times.totals()["emails"].counts == histogram(2).counts


def test_so_many_queues_are_counted_and_those_go_on(monkeypatch) -> None:
    monkeypatch.setattr(times_in_queue, "MOST_QUEUES", 2)
    times = TimesInQueue()

    def counted(number: int, *seconds: float) -> None:
        by_queue = {f"q{at}": histogram(*seconds) for at in range(number)}
        times.note([ReportedTimes(process="w1", uptime_s=1_000, silent_s=0, by_queue=by_queue)])

    counted(3)
    counted(3, 1)
    assert set(times.totals()) == {"q0", "q1"}
    counted(3, 1, 2)
    assert [one.tasks for one in times.totals().values()] == [2, 2]


def point(n: int, waiting: int, started: float = 1.0, paused: frozenset[str] = frozenset(), **more) -> HistoryPoint:
    return HistoryPoint(
        at=NOW + n * STEP,
        step=STEP,
        waiting={"emails": waiting},
        started_per_s={"emails": started},
        paused=paused,
        **more,
    )


def test_a_queue_that_grows_is_falling_behind_and_has_no_time_to_drain() -> None:
    points = [point(n, 100 + 20 * n) for n in range(30)]
    assert trend(points, "emails") == (3.0, 1.0, None, True)


def test_a_queue_that_shrinks_has_an_estimate() -> None:
    points = [point(n, 1_000 - 10 * n, started=4.0) for n in range(30)]
    arriving, started, drained_in_s, behind = trend(points, "emails")
    assert (arriving, started, behind) == (3.0, 4.0, False)
    assert drained_in_s == pytest.approx(710)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [point(n, 100) for n in range(3)],
        [point(n, 100 + n, paused=frozenset({"*"})) for n in range(30)],
        [point(n, 100 + n, paused=frozenset({"emails"})) for n in range(30)],
    ],
)
def test_without_a_minute_of_figures_or_with_a_pause_nothing_is_said(points: list[HistoryPoint]) -> None:
    assert trend(points, "emails") == (None, None, None, None)


def test_a_steady_queue_neither_falls_behind_nor_drains() -> None:
    assert trend([point(n, 100) for n in range(30)], "emails") == (1.0, 1.0, None, False)


def test_held_tasks_have_come_in_and_are_no_queue_that_shrinks_or_falls_behind() -> None:
    grows = [point(n, 100, held={"emails": 20 * n}) for n in range(30)]
    assert trend(grows, "emails") == (3.0, 1.0, None, False)
    others = [point(n, 100, held={"celery": 20 * n}) for n in range(30)]
    assert trend(others, "emails") == (1.0, 1.0, None, False)


def test_when_held_tasks_go_back_nothing_is_said_for_a_while() -> None:
    back = [point(n, 100 + 500 * (n > 20), held={"emails": 0 if n > 20 else 500}) for n in range(30)]
    assert trend(back, "emails") == (None, None, None, None)


def test_nothing_is_started_so_there_is_no_estimate() -> None:
    points = [point(n, 100 - n, started=0.0) for n in range(30)]  # it was cleared
    assert trend(points, "emails")[2] is None


class Recorded:
    """A history that gets points."""

    def __init__(self) -> None:
        self.points: list[HistoryPoint] = []
        self.asked: list[datetime | None] = []

    def read_series(self, _series: Series, _span_s: float, after: datetime | None = None):
        self.asked.append(after)
        new = tuple(p for p in self.points if after is None or p.at > after)
        return (self.points[-1].at.timestamp() if self.points else 0.0), new


@pytest.fixture
def recorded(monkeypatch) -> Recorded:
    monkeypatch.setattr(pace, "READ_S", 0.0)
    return Recorded()


def test_percentiles_and_objectives_follow_the_history_and_forget_what_is_old(recorded: Recorded) -> None:
    objective = Objective(share=0.95, within_s=30.0, over_s=600)
    paces = Paces(recorded, [("emails", objective), ("reports", objective)])  # type: ignore[arg-type]
    recorded.points = [point(n, 0, times={"emails": histogram(*[1.0] * 9, 40.0)}) for n in range(60)]
    paces.refresh()
    found = paces.of("emails")
    assert found is not None
    recent, hour = found.waits
    assert (recent.span_s, recent.tasks, hour.span_s, hour.tasks) == (300, 300, 3_600, 600)
    assert (recent.p50_s, recent.p99_s) == (pytest.approx(1, rel=0.5), pytest.approx(40, rel=0.2))
    assert (found.objective.share, found.objective.kept) == (0.9, False)
    assert paces.of("reports").objective == ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=600)
    assert paces.of("other") is None
    recorded.points.append(point(500, 0, times={"emails": histogram(2.0)}))
    paces.refresh()
    assert [wait.tasks for wait in paces.of("emails").waits] == [1, 1]
    assert paces.of("emails").objective.share == 1.0
    assert recorded.asked == [None, NOW + 59 * STEP]  # what is known is not read again


def test_an_objective_over_a_day_reads_the_coarse_series(recorded: Recorded) -> None:
    paces = Paces(recorded, [("emails", Objective(share=0.99, within_s=60.0, over_s=86_400))])  # type: ignore[arg-type]
    recorded.points = [point(n, 0, times={"emails": histogram(1.0)}) for n in range(10)]
    paces.refresh()
    assert len(recorded.asked) == 2
    assert paces.of("emails").objective.tasks == 10


def test_a_promise_is_never_rounded_up_to_kept() -> None:
    one = ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=3_600, share=0.94996, tasks=9)
    assert pace_text.objective(one) == "95 % within 30s over 1h: 94.9 %"
    assert pace_text.objective(ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=3_600)).endswith(": not known")
    kept = ObjectiveStatus(wanted=0.995, within_s=120.0, over_s=86_400, share=0.991, tasks=9)
    assert pace_text.objective(kept) == "99.5 % within 2m over 1d: 99.1 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "under a minute"),
        (59.9, "under a minute"),
        (60, "about 1 min"),
        (5_399, "about 90 min"),
        (5_400, "about 2 h"),
        (2 * 86_400 - 1, "about 48 h"),
        (2 * 86_400, "about 2 days"),
        (734, "about 12 min"),
        (7_300, "about 2 h"),
        (200_000, "about 2 days"),
    ],
)
def test_an_estimate_looks_like_one(seconds: float, text: str) -> None:
    assert pace_text.about(seconds) == text


def test_tasks_without_a_time_are_not_known_and_it_is_said_what_to_do() -> None:
    wait = Wait.of(histogram(unknown=7), 300)
    assert pace_text.wait(wait) == "not known"
    assert pace_text.remarks(QueuePace(waits=(wait,)), 0) == [f"7 without a time: {pace_text.UNSTAMPED}"]
