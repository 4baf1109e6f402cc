"""The charts: what was not recorded is a gap, and pauses and operations stand on the time axis."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from opsdash.model import AuditEntry, HistoryPoint, Status
from opsdash.views.charts import NAMED, Charts, pauses

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
STEP = timedelta(seconds=10)


def point(number: int, **over: Any) -> HistoryPoint:
    given = {"waiting": {"celery": number}, "started_per_s": {"celery": 1.0}}
    return HistoryPoint(at=NOW + number * STEP, step=STEP, **{**given, **over})


def bare(when: datetime) -> datetime:
    return when.replace(tzinfo=None)


def test_where_nobody_looked_the_line_breaks() -> None:
    charts = Charts(["celery"], dark=False)
    charts.show([point(0), point(1), point(9), point(10)], [], NOW + 11 * STEP, 900)
    waiting = charts._sources["celery"].data["waiting"]
    assert [value for value in waiting if not math.isnan(value)] == [0, 1, 9, 10]
    assert math.isnan(waiting[2])


def test_a_pause_is_a_band_from_its_first_to_its_last_point_and_two_pauses_are_two() -> None:
    points = [point(i, paused=frozenset({"*"} if i in {1, 2, 6} else set())) for i in range(8)]
    assert pauses(points, ["celery"]) == (
        (NOW + STEP, NOW + 3 * STEP),
        (NOW + 6 * STEP, NOW + 7 * STEP),
    )
    assert pauses([point(0, paused=frozenset({"emails"}))], ["celery"]) == ()
    assert len(pauses([point(0, paused=frozenset({"emails"}))], ["celery", "emails"])) == 1


def test_operations_and_pauses_are_marked_on_both_figures_and_go_with_the_time() -> None:
    charts = Charts(["celery"], dark=True)
    act = AuditEntry(
        id=uuid.uuid4(),
        request_id=uuid.uuid4(),
        timestamp=NOW,
        user="m",
        operation="clear_queue",
        status=Status.SUCCESS,
        details={},
    )
    charts.show([point(0, paused=frozenset({"*"}))], [act], NOW + STEP, 900)

    assert charts._bands.data == {"x0": [bare(NOW)], "x1": [bare(NOW + STEP)]}
    assert charts._acts.data == {"x": [bare(NOW)], "what": ["Clear Queue by m"]}
    drawn = [r.data_source for plot in charts.figures for r in plot.renderers]
    assert drawn.count(charts._bands) == drawn.count(charts._acts) == 2
    charts.show([point(200)], [act], NOW + timedelta(hours=1), 900)
    assert charts._bands.data == {"x0": [], "x1": []}
    assert charts._acts.data == {"x": [], "what": []}


def test_more_queues_than_can_be_told_apart_are_not_drawn() -> None:
    charts = Charts([f"q{i}" for i in range(20)], dark=False)
    charts.show([point(0, waiting={f"q{i}": i for i in range(20)})], [], NOW, 900)
    assert len(charts.queues) == NAMED
    assert [name for name, _ in charts.legend] == [f"q{i}" for i in range(NAMED)]
    assert len({hue for _, hue in charts.legend}) == NAMED


def test_what_a_hint_says_is_text_whatever_a_queue_or_a_user_is_called() -> None:
    hints = [tool.tooltips for plot in Charts(["<b>"], dark=False).figures for tool in plot.tools]
    assert len(hints) == 4
    assert all(isinstance(hint, list) for hint in hints), "any other kind of hint is HTML"
    assert not any("safe" in said for hint in hints for _, said in hint), "Bokeh escapes nothing that is called safe"
