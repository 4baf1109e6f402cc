"""Depth and throughput over time, with pauses and operations marked; built when it is opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.annotations import Title
from bokeh.models.axes import DatetimeAxis, LinearAxis
from bokeh.models.formatters import DatetimeTickFormatter, NumeralTickFormatter
from bokeh.models.glyphs import Line, VArea, VSpan, VStrip
from bokeh.models.grids import Grid
from bokeh.models.plots import Plot
from bokeh.models.ranges import DataRange1d, Range1d
from bokeh.models.scales import LinearScale
from bokeh.models.tickers import DatetimeTicker

from opsdash.model import AuditEntry, HistoryPoint

SPANS_S = {"15m": 15 * 60, "1h": 60 * 60, "24h": 24 * 60 * 60}
NAMED = 6
"""Queues with their own line; more lines could not be distinguished."""
GAP = 2.5
"""Steps between two points above which nobody looked: a gap, drawn as one."""
_HUES = {
    False: ("#4f46e5", "#0891b2", "#15803d", "#b45309", "#be185d", "#6b7280"),
    True: ("#8f8cff", "#22d3ee", "#4ade80", "#fbbf24", "#f472b6", "#9aa3b5"),
}
_PAUSED = "#f59e0b"
_HEIGHT = 196


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
    """Two figures over one time axis. ``show`` adds new points without drawing again.

    Args:
        queues: Which, at most ``NAMED`` of them.
        dark: Colours for a dark page.
    """

    def __init__(self, queues: Iterable[str], *, dark: bool) -> None:
        self.queues, self.dark, self.empty = tuple(queues)[:NAMED], dark, True
        self._look = Look(dark)
        self._sources = {queue: ColumnDataSource(data=_columns((), queue)) for queue in self.queues}
        self._bands = ColumnDataSource(data={"x0": [], "x1": []})
        self._acts = ColumnDataSource(data={"x": [], "what": []})
        # Shared by both figures: a time axis brings a dozen models, and each is sent and drawn.
        self._x: dict[str, Any] = {"range": Range1d(), "scale": LinearScale(), "ticker": DatetimeTicker()}
        self._clock = DatetimeTickFormatter(
            seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b"
        )
        self.figures = (
            self._figure("Waiting tasks", "waiting", "0,0"),
            self._figure("Tasks started per second", "rate", "0,0.[0]"),
        )

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Queue and colour of each line, for the page to tell once: inside a figure it would lie on the lines."""
        return list(zip(self.queues, self._look.hues, strict=False))

    def _figure(self, title: str, field: str, form: str) -> Plot:
        look, y_scale = self._look, LinearScale()
        plot = Plot(
            title=Title(text=title, text_font_size="12px", text_color=look.ink),
            height=_HEIGHT,
            sizing_mode="stretch_width",
            x_range=self._x["range"],
            y_range=DataRange1d(start=0),
            x_scale=self._x["scale"],
            y_scale=y_scale,
            toolbar_location=None,
            background_fill_color=None,
            border_fill_color=None,
            outline_line_color=None,
            min_border_left=56,
        )
        axis: dict[str, Any] = {
            "major_label_text_color": look.ink,
            "axis_line_color": look.line,
            "major_tick_line_color": look.line,
            "minor_tick_line_color": None,
        }
        plot.add_layout(DatetimeAxis(ticker=self._x["ticker"], formatter=self._clock, **axis), "below")
        upright = LinearAxis(**{"formatter": NumeralTickFormatter(format=form), **axis})
        plot.add_layout(upright, "left")
        plot.add_layout(Grid(dimension=1, ticker=upright.ticker, grid_line_color=look.line))
        _draw(plot, self._bands, VStrip(x0="x0", x1="x1", fill_color=_PAUSED, fill_alpha=0.18, line_color=None))
        acts = _draw(plot, self._acts, VSpan(x="x", line_color=look.ink, line_dash="dotted"))
        lines = []
        for i, queue in enumerate(self.queues):
            hue, source = look.hues[i], self._sources[queue]
            if len(self.queues) == 1:
                _draw(plot, source, VArea(x="at", y1=0, y2=field, fill_color=hue, fill_alpha=0.12))
            lines.append(_draw(plot, source, Line(x="at", y=field, line_width=2, line_color=hue), name=queue))
        tips = [("Queue", "$name"), ("UTC", "@at{%F %T}"), (title, f"@{field}{{{form}}}")]
        plot.add_tools(HoverTool(mode="vline", tooltips=tips, formatters={"@at": "datetime"}, renderers=lines))
        marked = [("UTC", "@x{%F %T}"), ("Done", "@what")]
        plot.add_tools(
            HoverTool(tooltips=marked, formatters={"@x": "datetime"}, renderers=[acts], attachment="vertical")
        )
        return plot

    def show(
        self, points: Iterable[HistoryPoint], operations: Iterable[AuditEntry], now: datetime, span_s: float
    ) -> None:
        """Puts the points of the last ``span_s`` seconds on the figures, pauses as bands and operations as lines."""
        known, start = list(points), now - timedelta(seconds=span_s)
        self.empty = not known
        for queue, source in self._sources.items():
            source.data = _columns(known, queue)
        self._x["range"].update(start=_bare(start), end=_bare(now))
        bands = pauses(known, self.queues)
        self._bands.data = {"x0": [_bare(left) for left, _ in bands], "x1": [_bare(right) for _, right in bands]}
        acts = [entry for entry in operations if entry.timestamp >= start]
        self._acts.data = {
            "x": [_bare(entry.timestamp) for entry in acts],
            "what": [f"{entry.title} by {entry.user}" for entry in acts],
        }


def _draw(plot: Plot, source: ColumnDataSource, glyph: Any, **more: Any) -> Any:
    # Without the looks of a selection, which nothing here can make.
    return plot.add_glyph(source, glyph, selection_glyph=None, nonselection_glyph=None, muted_glyph=None, **more)


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
