"""Depth and throughput over time in two figures with one crosshair and one tooltip; built when they are opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bokeh.models import ColumnDataSource, CrosshairTool, HoverTool
from bokeh.models.annotations import Span as Upright
from bokeh.models.annotations import Title
from bokeh.models.axes import DatetimeAxis, LinearAxis, LogAxis
from bokeh.models.dom import Div, Span, Text, ValueRef
from bokeh.models.formatters import DatetimeTickFormatter, NumeralTickFormatter
from bokeh.models.glyphs import Line, Patch, Quad, VSpan, VStrip
from bokeh.models.grids import Grid
from bokeh.models.labeling import NoOverlap
from bokeh.models.plots import Plot
from bokeh.models.ranges import DataRange1d, Range1d
from bokeh.models.scales import LinearScale, LogScale
from bokeh.models.text import PlainText
from bokeh.models.tickers import DatetimeTicker, FixedTicker

from opsdash.model import AuditEntry, HistoryPoint
from opsdash.views import chart_data
from opsdash.views.chart_data import ALL, MEASURES, WAITING, Columns, Measure, ms

SPANS_S = {"15m": 15 * 60, "1h": 60 * 60, "24h": 24 * 60 * 60}
NAMED = 6
"""Queues with their own line; more lines could not be distinguished."""
_HUES = {
    False: ("#4f46e5", "#0891b2", "#15803d", "#b45309", "#be185d", "#6b7280"),
    True: ("#8f8cff", "#22d3ee", "#4ade80", "#fbbf24", "#f472b6", "#9aa3b5"),
}
_PAUSED = "#f59e0b"
_FONT = (
    'Inter, Roboto, -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", "Liberation Sans", Arial, sans-serif'
)
"""As components/base.css has it: a tooltip of Bokeh's is outside of the card."""
_HEIGHT = 196
HELD: dict[str, Any] = {"line_width": 2, "line_dash": "dashed", "line_alpha": 0.8}
"""The line of held tasks, in the colour of their queue."""
_LANE = 0.05
"""Of the height of a figure: what a band of one queue's pause takes."""


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

    @property
    def tip(self) -> dict[str, str]:
        """Of the tooltip; it covers the frame that Bokeh draws around it, which is always light."""
        paper, ink = ("#191d26", "#e8eaf0") if self.dark else ("#ffffff", "#14171f")
        shadow = f"0 0 0 1px {self.line}, 0 6px 20px rgb(15 20 35 / 22%)"
        return {"margin": "-5px", "padding": "8px 12px", "background": paper, "color": ink} | {
            "box-shadow": shadow,
            "font": f"12px/18px {_FONT}",
            "font-variant-numeric": "tabular-nums",
        }


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the figures show at one time.

    Attributes:
        columns: Of the points. ``areas``: below the line of each figure, where there is one line.
        bands: When all that is shown was paused. ``lanes``: number of a queue, and when it alone was.
        acts: When operations were. ``labels``: where their names are, and which.
        start: Of the time that is shown. ``end``: of it.
    """

    columns: Columns
    areas: dict[str, Columns]
    bands: Sequence[tuple[datetime, datetime]]
    lanes: Sequence[tuple[int, datetime, datetime]]
    acts: Sequence[datetime]
    labels: Sequence[tuple[datetime, str]]
    start: datetime
    end: datetime

    def apart(self) -> Drawing:
        """The same with its own lists: Bokeh adds to the very ones that a figure was given."""
        return replace(self, columns={name: list(values) for name, values in self.columns.items()})


class Charts:
    """Two figures over one time axis. ``show`` adds new points without drawing again.

    Args:
        queues: Which, at most ``NAMED`` of them.
        dark: Colours for a dark page.
        log: Values on a logarithmic axis.
    """

    def __init__(self, queues: Iterable[str], *, dark: bool, log: bool = False) -> None:
        self.queues, self.dark, self.log, self.empty = tuple(queues)[:NAMED], dark, log, True
        self._look = Look(dark)
        self._columns: Columns = chart_data.columns((), self.queues)
        self._points = ColumnDataSource(data=dict(self._columns))
        self._areas = {measure.field: ColumnDataSource(data={"x": [], "y": []}) for measure in MEASURES}
        self._bands = ColumnDataSource(data={"x0": [], "x1": []})
        self._lanes = ColumnDataSource(data={"left": [], "right": [], "top": [], "bottom": [], "hue": []})
        self._acts = ColumnDataSource(data={"x": []})
        self._labelled = FixedTicker(ticks=[])
        # Shared by both figures: a time axis brings a dozen models, and each is sent and drawn.
        self._x: dict[str, Any] = {"range": Range1d(), "scale": LinearScale(), "ticker": DatetimeTicker()}
        self._height = Range1d(start=0, end=1)
        self._clock = DatetimeTickFormatter(
            seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b"
        )
        self._crosshair = Upright(dimension="height", line_color=self._look.ink, line_width=1)
        self._tip = tooltip(self.queues, self._look)
        self._names: LinearAxis | None = None
        self._drawing: Drawing | None = None
        self._copies: dict[str, Charts] = {}
        self._first = ""
        self.figures = tuple(self._figure(measure) for measure in MEASURES)

    def of(self, place: str) -> Charts:
        """Those of one place, such as the cell of a notebook: these in the first one, a copy in each other.

        A model of Bokeh is in one document only. A copy costs 40 ms, and follows until ``forget``.
        """
        self._first = self._first or place
        if place == self._first:
            return self
        if place not in self._copies:
            copy = self._copies[place] = Charts(self.queues, dark=self.dark, log=self.log)
            if self._drawing is not None:
                copy.show(self._drawing.apart())
        return self._copies[place]

    def forget(self, place: str) -> None:
        """It is shown there no longer."""
        self._copies.pop(place, None)

    @property
    def legend(self) -> list[list[str]]:
        """Kind, words and colour of each thing to see, for the page to tell once: inside it would lie on the lines."""
        lines = [["line", name, hue] for name, hue in zip(self.queues, self._look.hues, strict=False)]
        several = len(self.queues) > 1
        own = [["lane", "one queue paused, in its colour", ""]] if several else []
        held = any(value == value for i in range(len(self.queues)) for value in self._columns[f"h{i}"])
        own += [["dashed", "held", self._look.hues[0]]] if held else []
        return [*lines, ["act", "an operation", ""], ["held", "all queues paused" if several else "paused", ""], *own]

    def _figure(self, measure: Measure) -> Plot:
        look = self._look
        values = DataRange1d(start=measure.least if self.log else 0, min_interval=None if self.log else 1)
        plot = Plot(
            title=Title(
                text=f"{measure.title}{', logarithmic' if self.log else ''}", text_font_size="12px", text_color=look.ink
            ),
            height=_HEIGHT + (18 if measure is WAITING else 0),
            sizing_mode="stretch_width",
            x_range=self._x["range"],
            y_range=values,
            extra_y_ranges={"height": self._height},
            extra_y_scales={"height": LinearScale()},
            x_scale=self._x["scale"],
            y_scale=LogScale() if self.log else LinearScale(),
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
        upright = (LogAxis if self.log else LinearAxis)(
            **{"formatter": NumeralTickFormatter(format=measure.form), **axis}
        )
        if self.log:
            upright.major_label_overrides = {measure.least: "0"}
        plot.add_layout(upright, "left")
        plot.add_layout(Grid(dimension=1, ticker=upright.ticker, grid_line_color=look.line))
        if measure is WAITING:
            none = {
                "ticker": self._labelled,
                "axis_line_color": None,
                "major_tick_line_color": None,
                "major_label_standoff": 0,
            }
            self._names = LinearAxis(major_label_policy=NoOverlap(), **{**axis, **none})
            plot.add_layout(self._names, "above")
        self._draw(plot, measure, values)
        hit = _draw(plot, self._points, Line(x="at", y="hit", line_alpha=0), y_range_name="height")
        over: dict[str, Any] = {
            "mode": "vline",
            "line_policy": "nearest",
            "show_arrow": False,
            "attachment": "horizontal",
        }
        plot.add_tools(HoverTool(tooltips=self._tip, renderers=[hit], **over), CrosshairTool(overlay=self._crosshair))
        return plot

    def _draw(self, plot: Plot, measure: Measure, values: DataRange1d) -> None:
        look = self._look
        _draw(plot, self._bands, VStrip(x0="x0", x1="x1", fill_color=_PAUSED, fill_alpha=0.18, line_color=None))
        lane = Quad(left="left", right="right", top="top", bottom="bottom", fill_color="hue", line_color=None)
        lane.fill_alpha = 0.55
        lane.hatch_pattern, lane.hatch_color, lane.hatch_alpha = "/", look.ink, 0.35
        _draw(plot, self._lanes, lane, y_range_name="height")
        _draw(plot, self._acts, VSpan(x="x", line_color=look.ink, line_dash="dotted"))
        if len(self.queues) == 1:
            shape = Patch(x="x", y="y", fill_color=look.hues[0], fill_alpha=0.12, line_color=None)
            _draw(plot, self._areas[measure.field], shape)
        lines = [
            _draw(plot, self._points, Line(x="at", y=f"{measure.field}{i}", line_width=2, line_color=look.hues[i]))
            for i in range(len(self.queues))
        ]
        if measure is WAITING:  # what is held, where something is
            lines += [
                _draw(plot, self._points, Line(x="at", y=f"h{i}", line_color=look.hues[i], **HELD))
                for i in range(len(self.queues))
            ]
        values.renderers = lines

    def drawing(
        self, points: Iterable[HistoryPoint], operations: Iterable[AuditEntry], now: datetime, span_s: float
    ) -> Drawing:
        """What there is to see of the last ``span_s`` seconds. Of a day 40 ms: not for an event loop."""
        known, start = list(points), now - timedelta(seconds=span_s)
        acts = [entry for entry in operations if start <= entry.timestamp <= now]
        columns, one = chart_data.columns(known, self.queues, acts, log=self.log), len(self.queues) == 1
        return Drawing(
            columns=columns,
            areas={m.field: chart_data.area(columns, f"{m.field}0", m.least if self.log else 0.0) for m in MEASURES}
            if one
            else {},
            bands=chart_data.pauses(known, (ALL, *self.queues) if one else (ALL,)),
            lanes=[] if one else chart_data.lanes(known, self.queues),
            acts=[entry.timestamp for entry in acts],
            labels=chart_data.labels(acts, start, now),
            start=start,
            end=now,
        )

    def show(self, now: Drawing, *, streams: bool = True) -> None:
        """Puts it on the figures and their copies: pauses as bands, operations as lines with their names above.

        Args:
            streams: Only new points are sent; not to a notebook, which may get what was sent earlier once more.
        """
        for copy in self._copies.values():
            copy.show(now.apart(), streams=streams)
        self.empty, self._drawing = not now.columns["at"], now
        before, self._columns = self._columns, now.columns
        if streams:
            chart_data.feed(self._points, before, self._columns)
        else:
            self._points.data = dict(self._columns)
        self._x["range"].update(start=ms(now.start), end=ms(now.end))
        for field, shape in now.areas.items():
            self._areas[field].data = dict(shape)
        self._bands.data = {"x0": [ms(left) for left, _ in now.bands], "x1": [ms(right) for _, right in now.bands]}
        self._show_lanes(now.lanes)
        self._acts.data = {"x": [ms(at) for at in now.acts]}
        if self._names is not None:
            # As plain text: what begins with $$ would be taken for TeX.
            self._names.major_label_overrides = {ms(at): PlainText(text=text) for at, text in now.labels}
        self._labelled.ticks = [ms(at) for at, _ in now.labels]

    def _show_lanes(self, own: Sequence[tuple[int, datetime, datetime]]) -> None:
        """One below the other, only for queues that were paused."""
        place = {number: k for k, number in enumerate(sorted({number for number, *_ in own}))}
        tops = [1 - place[number] * _LANE * 1.4 for number, *_ in own]
        self._lanes.data = {
            "left": [ms(left) for _, left, _ in own],
            "right": [ms(right) for *_, right in own],
            "top": tops,
            "bottom": [top - _LANE for top in tops],
            "hue": [self._look.hues[number] for number, *_ in own],
        }


def tooltip(queues: Sequence[str], look: Look) -> Div:
    """What both figures say of a moment: each queue's depth and throughput, whether it was paused, what was done.

    Of nodes, not of HTML: what a queue or a user is called stays text.
    """
    mute, right = {"color": look.ink}, {"text-align": "right"}
    paused = {"color": "#fbbf24" if look.dark else "#b45309", "font-weight": "600"}
    heads = (Span(children=[Text(content=word)], style=mute | right) for word in ("waiting", "started/s"))
    cells: list[Any] = [Span(), *heads, Span()]
    for i, queue in enumerate(queues):
        sign = Span(
            style={
                "display": "inline-block",
                "width": "8px",
                "height": "8px",
                "border-radius": "2px",
                "background": look.hues[i],
                "margin-right": "7px",
            }
        )
        name = {"max-width": "180px", "overflow": "hidden", "text-overflow": "ellipsis", "white-space": "nowrap"}
        cells += [
            Div(children=[sign, Text(content=queue)], style=name),
            ValueRef(field=f"W{i}", style=right),
            ValueRef(field=f"R{i}", style=right),
            ValueRef(field=f"p{i}", style=paused),
        ]
    grid = {"display": "grid", "grid-template-columns": "auto auto auto auto", "column-gap": "14px"}
    acts = {"display": "block", "max-width": "300px", "white-space": "pre-line", "overflow-wrap": "anywhere"}
    return Div(
        style=look.tip,
        children=[
            Div(children=[ValueRef(field="when")], style={"font-weight": "600"}),
            Div(children=cells, style=grid),
            ValueRef(field="acts", style={**acts, **mute}),
        ],
    )


def _draw(plot: Plot, source: ColumnDataSource, glyph: Any, **more: Any) -> Any:
    # Without the looks of a selection, which nothing here can make.
    return plot.add_glyph(source, glyph, selection_glyph=None, nonselection_glyph=None, muted_glyph=None, **more)
