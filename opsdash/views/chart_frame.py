"""The charts of a page: made when they are opened, and updated while they are open."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import panel as pn
from bokeh.models.plots import Plot

from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, HistoryPoint
from opsdash.services.audit.query import THIS, Filter
from opsdash.services.threads import READS
from opsdash.views.charts import NAMED, SPANS_S, Charts
from opsdash.views.page_state import HISTORY_EVERY_S
from opsdash.views.session import Session

MARKED = 100
"""Operations that the charts mark."""


class ChartFrame:
    """The charts of one browser session, in a frame that the page's component has from the start."""

    def __init__(self, session: Session) -> None:
        self._session, self._console, self._channel = session, session.console, session.channel
        self._frame = self._channel.chart = pn.Column(sizing_mode="stretch_width", margin=0)
        self._charts: Charts | None = None
        self._placed: Charts | None = None
        self._span_s, self._charted_s, self._looked_at = 0, 0.0, False
        self._drawing = asyncio.Lock()
        session.followers.append(self._follow)

    async def open(self, queue: str, span: str, *, dark: bool) -> None:
        """Draws the history of one queue, or of the first few; figures that are there already take the new points.

        Args:
            queue: An unknown one means all.
            span: One of ``SPANS_S``, else the shortest.
            dark: Colours for a dark page.
        """
        async with self._drawing:
            self._span_s = SPANS_S.get(span, SPANS_S["15m"])
            self._charted_s, self._looked_at = time.monotonic(), True
            self._charts = await READS.run(partial(self._drawn, queue, dark), caller=self._session.caller)
            await self._put_in(self._charts)

    def _drawn(self, queue: str, dark: bool) -> Charts:
        """Not on the event loop: it reads, and new figures take 40 ms to make."""
        names = self._console.queue_names()
        shown = (queue,) if queue in names else names[:NAMED]
        made = self._charts
        return made if made is not None and (made.queues, made.dark) == (shown, dark) else Charts(shown, dark=dark)

    async def _put_in(self, charts: Charts) -> None:
        points, entries = await READS.run(self._history, caller=self._session.caller)
        # In the document's next turn: after an await, its lock is another's.
        self._session.later(
            partial(self._place, charts, partial(charts.show, points, entries, datetime.now(UTC), self._span_s))
        )

    def _place(self, charts: Charts, show: Callable[[], None]) -> None:
        if charts is not self._charts:
            return  # others were asked for meanwhile: these are, or will be, gone from the page
        show()
        if self._placed is charts:
            self._tell(charts)
            return
        self._placed = charts
        first, *others = charts.figures
        self._frame[:] = [_pane(first)]
        self._tell(charts)
        # A figure takes 30 ms of the event loop: each has its own turn, and other work runs in between.
        for figure in others:
            self._session.later(partial(self._place_too, charts, figure))

    def _place_too(self, charts: Charts, figure: Plot) -> None:
        if charts is self._placed:
            self._frame.append(_pane(figure))
            self._tell(charts)

    def _tell(self, charts: Charts) -> None:
        self._channel.tell("charted", empty=charts.empty, legend=charts.legend)

    def leave(self) -> None:
        """Nobody looks at them any more: they stay as they are."""
        self._looked_at = False

    def _history(self) -> tuple[tuple[HistoryPoint, ...], tuple[AuditEntry, ...]]:
        # What another deployment on the same database has done moved nothing here.
        since = datetime.now(UTC) - timedelta(seconds=self._span_s)
        wanted = Filter(since=since, broker=THIS, or_no_broker=True)
        return (
            self._console.history.read(self._span_s),
            self._console.audit.page(wanted, limit=MARKED).entries,
        )

    def _follow(self) -> None:
        """New figures have come: while charts are open, new points come into them too."""
        if self._looked_at and time.monotonic() - self._charted_s > HISTORY_EVERY_S:
            self._charted_s = time.monotonic()
            self._session.later(self._extend)

    async def _extend(self) -> None:
        async with self._drawing:
            if self._charts is not None:
                with contextlib.suppress(OpsdashError):  # the strip says that it is old
                    await self._put_in(self._charts)


def _pane(figure: Plot) -> pn.pane.Bokeh:
    return pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=(0, 0, 8, 0))
