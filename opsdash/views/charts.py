"""Depth and throughput over time, with pauses and operations marked; built when somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CrosshairTool, DatetimeTickFormatter, HoverTool, NumeralTickFormatter
from bokeh.models.annotations import BoxAnnotation, Span
from bokeh.plotting import figure

from opsdash.model import AuditEntry, HistoryPoint

SPANS_S = {"15m": 15 * 60, "1h": 60 * 60, "24h": 24 * 60 * 60}
NAMED = 6
"""Queues with a line of their own; more could not be told apart."""
GAP = 2.5
"""Steps between two points above which nobody looked: a gap, drawn as one."""
_HUES = {
    False: ("#4f46e5", "#0891b2", "#15803d", "#b45309", "#be185d", "#6b7280"),
    True: ("#8f8cff", "#22d3ee", "#4ade80", "#fbbf24", "#f472b6", "#9aa3b5"),
}
_PAUSED = "#f59e0b"
_HEIGHT = 210


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of one theme."""

    dark: bool

    @property
    def ink(self) -> str:
        """Of axes and words."""
        return "#a0a7b8" if self.dark else "#5b6170"

    @property
    def line(self) -> str:
        """Of the grid."""
        return "#262b36" if self.dark else "#e1e4e9"

    @property
    def hues(self) -> tuple[str, ...]:
        """Of the queues."""
        return _HUES[self.dark]


class Charts:
    """Two figures over one time axis. ``show`` brings new points in without drawing anew.

    Args:
        queues: Which, at most ``NAMED`` of them.
        span_s: How far back.
        dark: Colours for a dark page.
    """

    def __init__(self, queues: Iterable[str], span_s: int, *, dark: bool) -> None:
        self.queues = tuple(queues)[:NAMED]
        self._span = timedelta(seconds=span_s)
        self._look = Look(dark)
        self._sources = {queue: ColumnDataSource(data=_columns((), queue)) for queue in self.queues}
        depth = self._figure("Waiting tasks", "waiting", "0,0")
        speed = self._figure("Tasks started per second", "rate", "0,0.[0]", x_range=depth.x_range)
        self._figures = (depth, speed)
        self._marks: list[Any] = []
        self._marked: tuple[Any, ...] = ()
        cross = CrosshairTool(dimensions="height", line_color=self._look.ink, line_alpha=0.5)
        for plot in self._figures:
            plot.add_tools(cross)
        self.layout = column(*self._figures, sizing_mode="stretch_width", spacing=8)

    def _figure(self, title: str, field: str, form: str, **options: Any) -> Any:
        look = self._look
        plot: Any = figure(
            title=title,
            height=_HEIGHT,
            sizing_mode="stretch_width",
            x_axis_type="datetime",
            tools="",
            toolbar_location=None,
            background_fill_color=None,
            border_fill_color=None,
            outline_line_color=None,
            min_border_left=56,
            **options,
        )
        for i, queue in enumerate(self.queues):
            hue = look.hues[i % len(look.hues)]
            plot.line("at", field, source=self._sources[queue], line_width=2, color=hue, legend_label=queue)
            if len(self.queues) == 1:
                plot.varea("at", 0, field, source=self._sources[queue], color=hue, alpha=0.12)
        plot.y_range.start = 0
        plot.yaxis.formatter = NumeralTickFormatter(format=form)
        plot.xaxis.formatter = DatetimeTickFormatter(
            seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b"
        )
        plot.title.text_font_size, plot.title.text_color = "12px", look.ink
        plot.grid.grid_line_color, plot.xgrid.grid_line_color = look.line, None
        for axis in plot.axis:
            axis.major_label_text_color = look.ink
            axis.axis_line_color = axis.major_tick_line_color = look.line
            axis.minor_tick_line_color = None
        if self.queues:
            legend = plot.legend[0]
            legend.orientation, legend.location, legend.label_text_font_size = "horizontal", "top_left", "11px"
            legend.background_fill_alpha, legend.border_line_color, legend.label_text_color = 0, None, look.ink
            legend.padding = 2
        hover: Any = HoverTool(mode="vline", tooltips=[("UTC", "@at{%F %T}"), (title, f"@{field}{{{form}}}")])
        hover.formatters = {"@at": "datetime"}
        hover.renderers = plot.renderers[: len(self.queues)]
        plot.add_tools(hover)
        return plot

    def show(self, points: Iterable[HistoryPoint], operations: Iterable[AuditEntry], now: datetime) -> None:
        """Puts these points on the figures, pauses as bands and operations as lines."""
        known = list(points)
        for queue, source in self._sources.items():
            source.data = _columns(known, queue)
        start = now - self._span
        self._figures[0].x_range.update(start=_bare(start), end=_bare(now))
        bands = pauses(known, self.queues)
        acts = tuple((entry.timestamp, entry.operation) for entry in operations if entry.timestamp >= start)
        if (bands, acts) != self._marked:
            self._marked = (bands, acts)
            self._mark(bands, acts)

    def _mark(self, bands: tuple[tuple[datetime, datetime], ...], acts: tuple[tuple[datetime, str], ...]) -> None:
        for plot in self._figures:
            plot.center = [thing for thing in plot.center if thing not in self._marks]
        self._marks = []
        for plot in self._figures:
            for left, right in bands:
                band = BoxAnnotation(
                    left=_bare(left), right=_bare(right), fill_color="#f59e0b", fill_alpha=0.16, level="underlay"
                )
                self._marks.append(band)
                plot.add_layout(band)
            for at, _ in acts:
                line = Span(location=_bare(at), dimension="height", line_color=self._look.ink, line_dash="dotted")
                self._marks.append(line)
                plot.add_layout(line)


def pauses(points: Iterable[HistoryPoint], queues: Iterable[str]) -> tuple[tuple[datetime, datetime], ...]:
    """From when to when everything, or one of these queues, was paused."""
    names = {"*", *queues}
    found: list[tuple[datetime, datetime]] = []
    for point in points:
        if not point.paused & names:
            continue
        end = point.at + point.step
        if found and point.at - found[-1][1] <= point.step * (GAP - 1):
            found[-1] = (found[-1][0], end)
        else:
            found.append((point.at, end))
    return tuple(found)


def _columns(points: Iterable[HistoryPoint], queue: str) -> dict[str, list[Any]]:
    """A queue's columns; where nobody looked there is a point without a value, so that the line breaks."""
    at: list[datetime] = []
    waiting: list[float] = []
    rate: list[float] = []
    nothing = float("nan")
    last: HistoryPoint | None = None
    for point in points:
        if last is not None and point.at - last.at > point.step * GAP:
            at.append(_bare(last.at + last.step))
            waiting.append(nothing)
            rate.append(nothing)
        at.append(_bare(point.at))
        waiting.append(point.waiting.get(queue, nothing))
        rate.append(point.started_per_s.get(queue, nothing))
        last = point
    return {"at": at, "waiting": waiting, "rate": rate}


def _bare(when: datetime) -> datetime:
    """Bokeh takes a time without a zone as it is written: UTC stays UTC on the axis."""
    return when.replace(tzinfo=None)
