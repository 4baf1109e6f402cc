"""Depth and throughput in two figures over one time axis; new points go into their ColumnDataSources."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.services.audit.query import THIS, Filter
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.state.location import SPANS
from opsdash.views.charts import NAMED, SPANS_S, Charts, Drawing
from opsdash.views.components import Card
from opsdash.views.design import segments
from opsdash.views.readings import HISTORY_EVERY_S
from opsdash.views.request_queue import Turns
from opsdash.views.view import View

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.model import Model
    from pyviz_comms import Comm

MARKED = 100
"""Operations that the charts mark."""


class QueueChart(View):
    """Depth and throughput of 15 minutes, an hour or a day, with pauses and operations marked.

    With ``every`` it shows the first few queues, else the chosen one.
    """

    span: param.Selector[str] = param.Selector(default="15m", objects=list(SPANS), doc="How far it looks back.")
    every = param.Boolean(default=False, doc="The first few queues in one chart, not the chosen one alone.")
    log = param.Boolean(default=False, doc="Values on a logarithmic axis.")
    dark = param.Boolean(default=False, doc="Colours for a dark page; follows what is around it.")

    _card: Card | None = None

    def _build(self) -> Viewable:
        self._charts: Charts | None = None
        self._placed: Charts | None = None
        self._drawn_at_s = 0.0
        self._turns = Turns()
        span = segments({"15 min": "15m", "1 hour": "1h", "24 hours": "24h"}, value=self.span)
        which = segments({"Chosen queue": False, "All": True}, value=self.every)
        scale = segments({"Linear": False, "Log": True}, value=self.log)
        for widget, name in ((span, "span"), (which, "every"), (scale, "log")):
            widget.link(self, value=name, bidirectional=True)
        self._frame = pn.Column(margin=0, sizing_mode="stretch_width")
        self._card = Card(
            self._frame,
            title="Depth and throughput",
            actions=[which, span, scale],
            lines=[["mute", "Reading the history …"]],
            dark=self.dark,
            theme=self.param.theme,
        )
        self._card.param.watch(lambda event: setattr(self, "dark", event.new), "dark")
        self._session.later(self._draw)
        return self._card

    @param.depends("queue", "span", "every", "log", "dark", watch=True)
    def _other(self) -> None:
        if self._card is not None:
            self._session.later(self._draw)

    @param.depends("status.updated_at", watch=True)
    def _extend(self) -> None:
        """A reading has come: the history has a new point every ten seconds."""
        if self._card is not None and time.monotonic() - self._drawn_at_s > HISTORY_EVERY_S:
            self._session.later(self._draw)

    @property
    def _shown_queues(self) -> tuple[str, ...]:
        names = [queue.name for queue in self.status.queues]
        return tuple(names[:NAMED]) if self.every or self.queue not in names else (self.queue,)

    async def _draw(self) -> None:
        async with self._turns.turn("draw") as mine:
            if not mine or self._session.closed:
                return
            self._drawn_at_s = time.monotonic()
            names, dark, log, span_s = self._shown_queues, self.dark, self.log, SPANS_S[self.span]
            with contextlib.suppress(OpsdashError):  # the strip says that it is old; what is drawn stays
                made = self._charts
                if made is None or (made.queues, made.dark, made.log) != (names, dark, log):
                    # 40 ms, so not on the event loop.
                    make = partial(Charts, names, dark=dark, log=log)
                    made = self._charts = await READS.run(make, caller=self._session.caller)
                drawing = await READS.run(partial(self._read, made, span_s), caller=self._session.caller)
                # In the document's next turn: after an await, its lock is another's.
                self._session.later(partial(self._show, made, drawing))

    def _read(self, charts: Charts, span_s: float) -> Drawing:
        # What another deployment on the same database has done moved nothing here.
        now = datetime.now(UTC)
        wanted = Filter(since=now - timedelta(seconds=span_s), broker=THIS, or_no_broker=True)
        console = self._session.console
        entries = console.audit.page(wanted, limit=MARKED).entries
        return charts.drawing(console.history.read(span_s), entries, now, span_s)

    def _show(self, charts: Charts, drawing: Drawing) -> None:
        if charts is not self._charts or self._card is None:
            return  # others were asked for meanwhile
        if self._session.served and not pn.state.loaded:
            # Panel puts off what comes between the websocket and the first paint, and of new figures nothing arrives.
            pn.state.onload(partial(self._session.later, partial(self._show, charts, drawing)))
            return
        # By Panel's own queue, as the figures themselves: else what changes of them may arrive before they do.
        with pn.io.unlocked():
            charts.show(drawing, streams=self._session.served)
        if self._placed is not charts:
            self._placed = charts
            self._frame[:] = [FigurePane(charts, 0)]
            # A figure takes 30 ms of the event loop: each has its own turn, and other work runs in between.
            for number in range(1, len(charts.figures)):
                self._session.later(partial(self._place_too, charts, number))
        nothing = "Nothing was recorded in this time: a console records while it runs."
        set_changed(self._card, lines=[["mute", nothing]] if charts.empty else [], legend=charts.legend)
        pn.io.push_notebook(self._card)  # Panel sends what was changed of a figure with its next own change only

    def _place_too(self, charts: Charts, number: int) -> None:
        if charts is self._placed:
            self._frame.append(FigurePane(charts, number))


class FigurePane(pn.pane.Bokeh):
    """One of the figures; each place where it is shown has its own."""

    def __init__(self, charts: Charts, number: int) -> None:
        self._charts, self._number = charts, number
        super().__init__(charts.figures[number], sizing_mode="stretch_width", margin=(0, 12, 8, 12))

    def _get_model(
        self, doc: Document, root: Model | None = None, parent: Model | None = None, comm: Comm | None = None
    ) -> Model:
        if root is not None:
            with param.parameterized.discard_events(self):
                self.object = self._charts.of(root.ref["id"]).figures[self._number]
            self._sync_properties()
        model: Model = super()._get_model(doc, root, parent, comm)
        return model

    def _cleanup(self, root: Model | None = None) -> None:
        super()._cleanup(root)
        if root is not None:
            self._charts.forget(root.ref["id"])
