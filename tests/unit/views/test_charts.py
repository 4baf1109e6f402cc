"""The charts: what was not recorded is a gap, and pauses and operations stand on the time axis."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bokeh.models import ColumnDataSource, CrosshairTool, HoverTool
from bokeh.models.dom import HTML, Text
from bokeh.models.scales import LogScale
from bokeh.models.text import PlainText

from opsdash.model import AuditEntry, HistoryPoint, Status
from opsdash.views import chart_data
from opsdash.views.chart_data import ALL, labels, ms, pauses
from opsdash.views.charts import NAMED, Charts

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
STEP = timedelta(seconds=10)


def point(number: int, **over: Any) -> HistoryPoint:
    given = {"waiting": {"celery": number}, "started_per_s": {"celery": 1.0}}
    return HistoryPoint(at=NOW + number * STEP, step=STEP, **{**given, **over})


def entry(at: datetime, name: str = "clear_queue", user: str = "m", **params: Any) -> AuditEntry:
    return AuditEntry(
        id=uuid.uuid4(),
        request_id=uuid.uuid4(),
        timestamp=at,
        user=user,
        operation=name,
        status=Status.SUCCESS,
        details={"params": params},
    )


def show(
    charts: Charts,
    points: Iterable[HistoryPoint],
    operations: Iterable[AuditEntry] = (),
    now: datetime = NOW + 11 * STEP,
    span_s: float = 900,
) -> None:
    charts.show(charts.drawing(points, operations, now, span_s))


def known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def test_where_nobody_looked_the_line_breaks_and_the_area_below_it_too() -> None:
    charts = Charts(["celery"], dark=False)
    show(charts, [point(0), point(1), point(9), point(10)])
    waiting = list(charts._points.data["w0"])
    assert known(waiting) == [0, 1, 9, 10]
    assert math.isnan(waiting[2])
    outline = charts._areas["w"].data["y"]
    assert [value for value in outline if math.isnan(value)], "two shapes"
    assert known(outline) == [0, 0, 1, 0, 0, 9, 10, 0]


def test_each_place_where_a_chart_is_shown_has_its_own_figures_and_all_of_them_move() -> None:
    charts = Charts(["celery"], dark=True)
    first = charts.of("a cell")
    show(charts, [point(0), point(1)])
    second = charts.of("another cell")
    assert first is charts
    assert charts.of("another cell") is second
    assert not set(first.figures) & set(second.figures), "a model of Bokeh is in one document only"
    for points in ([point(0), point(1)], [point(0), point(1), point(2)]):
        show(charts, points)
        assert [list(one._points.data["w0"]) for one in (first, second)] == [[p.waiting["celery"] for p in points]] * 2
    charts.forget("another cell")
    show(charts, [])
    assert list(second._points.data["w0"]) == [0, 1, 2]


def test_a_pointer_anywhere_in_a_time_when_nobody_looked_finds_no_values() -> None:
    made = chart_data.columns([point(0), point(1), point(9)], ["celery"])
    nearest = [
        min(range(len(made["at"])), key=lambda i: abs(made["at"][i] - ms(NOW + at * STEP))) for at in range(2, 9)
    ]
    assert all(math.isnan(made["hit"][i]) for i in nearest)
    assert {made["when"][i] for i in nearest} == {""}
    assert made["at"] == sorted(made["at"])
    coarse = HistoryPoint(at=NOW, step=timedelta(minutes=1), waiting={}, started_per_s={})
    rows = chart_data.columns([coarse, point(3)], ["celery"])["at"]
    assert rows == sorted(rows), "also where points of a minute end and those of ten seconds begin"


def test_where_a_rate_is_not_known_there_is_no_slope_down_to_zero() -> None:
    points = [point(0, started_per_s={}), point(1), point(2)]
    made = chart_data.columns(points, ["celery"])
    assert chart_data.area(made, "r0", 0.0) == {
        "x": [ms(NOW + STEP), ms(NOW + STEP), ms(NOW + 2 * STEP), ms(NOW + 2 * STEP)],
        "y": [0.0, 1.0, 1.0, 0.0],
    }
    assert made["R0"] == ["–", "1.0", "1.0"]


def test_a_pause_is_a_band_from_its_first_to_its_last_point_and_two_pauses_are_two() -> None:
    points = [point(i, paused=frozenset({"*"} if i in {1, 2, 6} else set())) for i in range(8)]
    assert pauses(points, [ALL, "celery"]) == (
        (NOW + STEP, NOW + 3 * STEP),
        (NOW + 6 * STEP, NOW + 7 * STEP),
    )
    assert pauses([point(0, paused=frozenset({"emails"}))], [ALL, "celery"]) == ()


def test_the_pause_of_one_queue_among_several_is_a_band_of_its_own_colour_and_shades_nothing_else() -> None:
    charts = Charts(["celery", "emails"], dark=False)
    show(charts, [point(0, paused=frozenset({"emails"})), point(1, paused=frozenset({"*"}))])
    assert charts._bands.data == {"x0": [ms(NOW + STEP)], "x1": [ms(NOW + 2 * STEP)]}
    lanes = charts._lanes.data
    assert (lanes["left"], lanes["right"]) == ([ms(NOW)], [ms(NOW + STEP)])
    assert lanes["hue"] == [charts._look.hues[1]]
    assert [kind for kind, *_ in charts.legend].count("lane") == 1


def test_where_one_queue_is_shown_its_own_pause_shades_the_figure() -> None:
    charts = Charts(["emails"], dark=False)
    show(charts, [point(0, paused=frozenset({"emails"}))])
    assert charts._bands.data["x0"] == [ms(NOW)]
    assert charts._lanes.data["left"] == []


def test_operations_are_marked_on_both_figures_and_named_above_and_go_with_the_time() -> None:
    charts = Charts(["celery"], dark=True)
    act = entry(NOW, queue="emails")
    show(charts, [point(0)], [act], NOW + STEP)
    assert charts._acts.data == {"x": [ms(NOW)]}
    assert {at: label.text for at, label in charts._names.major_label_overrides.items()} == {
        ms(NOW): "Clear queue emails"
    }
    drawn = [r.data_source for plot in charts.figures for r in plot.renderers]
    assert drawn.count(charts._bands) == drawn.count(charts._acts) == 2
    show(charts, [point(200)], [act], NOW + timedelta(hours=1))
    assert charts._acts.data == {"x": []}
    assert charts._labelled.ticks == []


def test_operations_that_are_close_together_share_a_label_that_counts_them() -> None:
    acts = [entry(NOW + timedelta(seconds=s), "pause_processing") for s in (40, 5, 20, 800)]
    told = labels(acts, NOW, NOW + timedelta(seconds=900))
    assert [(at - NOW).total_seconds() for at, _ in told] == [5, 800]
    assert [text for _, text in told] == ["Pause Processing +2", "Pause Processing"]


def test_one_tooltip_says_of_both_figures_what_was_and_who_did_what() -> None:
    charts = Charts(["celery", "emails"], dark=False)
    paused = point(1, waiting={"celery": 1234}, paused=frozenset({"emails"}))
    show(charts, [point(0), paused], [entry(NOW + 9 * STEP / 10, queue="emails")])
    said = {name: values[1] for name, values in charts._points.data.items()}
    assert (said["W0"], said["R0"], said["W1"], said["p0"], said["p1"]) == ("1,234", "1.0", "–", "", "paused")
    assert said["acts"] == "Clear queue emails by m, 12:30:09"
    assert said["when"] == "2026-11-23 12:30:10 UTC"
    hovers = [tool for plot in charts.figures for tool in plot.select(HoverTool)]
    assert len(hovers) == 2
    assert hovers[0].tooltips is hovers[1].tooltips
    first, second = (plot.select_one(CrosshairTool) for plot in charts.figures)
    assert first.overlay is second.overlay, "it is in both at once"


def test_what_is_held_is_a_line_of_its_own_where_something_is_and_the_tooltip_says_how_many() -> None:
    charts = Charts(["celery", "emails"], dark=False)
    show(charts, [point(0), point(1)])
    assert not any("held" in words for _, words, _ in charts.legend)
    show(charts, [point(0), point(1, held={"emails": 312}, paused=frozenset({"emails"}))])
    assert charts._points.data["h1"][1] == 312
    assert all(value != value for value in [*charts._points.data["h0"], charts._points.data["h1"][0]])
    assert charts._points.data["p1"] == ["", "paused, 312 held"]
    assert [words for _, words, _ in charts.legend].count("held") == 1


def test_on_a_logarithmic_axis_zero_is_drawn_where_the_axis_begins_and_is_still_called_zero() -> None:
    charts = Charts(["celery"], dark=False, log=True)
    show(charts, [point(0), point(1)])
    assert all(isinstance(plot.y_scale, LogScale) for plot in charts.figures)
    assert list(charts._points.data["w0"]) == [0.5, 1.0]
    assert charts._points.data["W0"] == ["0", "1"]


def test_a_new_point_travels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    charts, sent, stream = Charts(["celery"], dark=False), [], ColumnDataSource.stream
    show(charts, [point(0), point(1)])

    def spy(source: ColumnDataSource, data: dict[str, Any], rollover: int) -> None:
        sent.append(len(data["at"]))
        stream(source, data, rollover)

    monkeypatch.setattr(ColumnDataSource, "stream", spy)
    show(charts, [point(1), point(2)])
    assert sent == [1]
    assert list(charts._points.data["at"]) == [ms(NOW + STEP), ms(NOW + 2 * STEP)]
    show(charts, [point(1), point(2)])
    assert sent == [1], "nothing is new"
    show(charts, [point(1, waiting={"celery": 7}), point(2)])
    assert list(charts._points.data["w0"]) == [7.0, 2.0], "what has changed is sent as a whole"


def test_more_queues_than_can_be_told_apart_are_not_drawn() -> None:
    charts = Charts([f"q{i}" for i in range(20)], dark=False)
    show(charts, [point(0, waiting={f"q{i}": i for i in range(20)})])
    lines = [line for line in charts.legend if line[0] == "line"]
    assert [name for _, name, _ in lines] == [f"q{i}" for i in range(NAMED)]
    assert len({hue for *_, hue in lines}) == NAMED


def test_what_a_tooltip_or_a_label_says_is_text_whatever_a_queue_or_an_operation_is_called() -> None:
    charts = Charts(["<b>"], dark=False)
    show(charts, [point(0)], [entry(NOW, "$$\\href{x}{y}$$")])
    nodes = charts._tip.references()
    assert not [node for node in nodes if isinstance(node, HTML)]
    assert "<b>" in [node.content for node in nodes if isinstance(node, Text)]
    assert all(isinstance(label, PlainText) for label in charts._names.major_label_overrides.values())
