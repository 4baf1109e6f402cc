"""How each queue is worked off: percentiles of its times, its objective, and whether it falls behind.

All of it from the history, so that it outlives workers and consoles.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise

from opsdash.errors import OpsdashError
from opsdash.model import HistoryPoint
from opsdash.model.time_in_queue import NOTHING, Objective, ObjectiveStatus, QueuePace, Sum, TimeInQueue, Wait
from opsdash.services.monitoring.history import COARSE, FINE, History, Series
from opsdash.services.workers.reports import ReportedTimes

log = logging.getLogger(__name__)

READ_S = 10.0
"""The history gets a point so often."""
SPANS_S = (300, 3_600)
PACE_S = 300
"""Over so many seconds it is seen whether a queue grows."""
FEWEST_POINTS = 6
"""Of a minute: fewer say nothing of a trend."""
GROWTH, GROWTH_SHARE = 10, 0.05
"""A queue falls behind when it grows by so many tasks, and by such a share of what came in."""


class Window:
    """The sum of all histograms of the last ``span_s`` seconds."""

    def __init__(self, span_s: int) -> None:
        self.span_s = span_s
        self.sum = Sum()
        self._points: deque[tuple[float, Mapping[str, TimeInQueue]]] = deque()

    def take(self, points: Iterable[HistoryPoint], now: float) -> None:
        """Adds new points, and takes away those that are too old. Args: ``now`` by Redis's clock."""
        for point in points:
            if point.times:
                self._points.append((point.at.timestamp(), point.times))
                self.sum.add(point.times.items())
        while self._points and self._points[0][0] <= now - self.span_s:
            self.sum.take(self._points.popleft()[1].items())


class Paces:
    """Follows the history, one read every ten seconds.

    Args:
        promised: Queues and what was promised for each.
    """

    def __init__(self, history: History, promised: Iterable[tuple[str, Objective]]) -> None:
        objectives = dict(promised)
        self._history, self._objectives = history, objectives
        self._lock = threading.Lock()
        overs = {one.over_s for one in objectives.values()}
        fine = {*SPANS_S, *(over_s for over_s in overs if over_s <= FINE.span_s)}
        self._windows: dict[Series, dict[int, Window]] = {
            FINE: {span_s: Window(span_s) for span_s in sorted(fine)},
            COARSE: {over_s: Window(over_s) for over_s in sorted(overs - fine)},
        }
        self._last: dict[Series, datetime] = {}
        self._recent: deque[HistoryPoint] = deque()
        self._read_s = float("-inf")  # monotonic
        self._made: dict[str, QueuePace] = {}

    def follow(self, reports: Iterable[ReportedTimes]) -> None:
        """Takes over what workers report, for the history, and what the history has got since; as ``refresh``."""
        self._history.times.note(reports)
        self.refresh()

    def refresh(self) -> None:
        """Reads what the history has got since. Never raises for an outage: figures stay as they were.

        Cost: a round trip or two every ten seconds; the first time some 10 ms, for the last hour.
        """
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._read_s < READ_S:
                return
            try:
                for series, windows in self._windows.items():
                    if windows:
                        self._read(series, windows)
            except OpsdashError as error:
                log.info("times in queues could not be read: %s", error)
            self._read_s = now_s
            self._made.clear()

    def of(self, queue: str) -> QueuePace | None:
        """What is known of a queue; None: nothing, and nothing was promised. Cost: no round trip."""
        with self._lock:
            if queue not in self._made:
                self._made[queue] = self._make(queue)
            pace = self._made[queue]
            return None if pace == QueuePace() else pace

    def _read(self, series: Series, windows: Mapping[int, Window]) -> None:
        now, points = self._history.read_series(series, series.span_s, self._last.get(series))
        for window in windows.values():
            window.take(points, now)
        if points:
            self._last[series] = points[-1].at
        if series is FINE:
            self._recent.extend(points)
            while self._recent and self._recent[0].at.timestamp() <= now - PACE_S:
                self._recent.popleft()

    def _make(self, queue: str) -> QueuePace:
        fine = self._windows[FINE]
        found = {span_s: fine[span_s].sum.times.get(queue, NOTHING) for span_s in SPANS_S}
        waits = tuple(Wait.of(times, span_s) for span_s, times in found.items()) if any(found.values()) else ()
        arriving, started, drained_in_s, behind = trend(self._recent, queue)
        return QueuePace(
            waits=waits,
            objective=self._objective(queue),
            arriving_per_s=arriving,
            started_per_s=started,
            falling_behind=behind,
            drained_in_s=drained_in_s,
        )

    def _objective(self, queue: str) -> ObjectiveStatus | None:
        wanted = self._objectives.get(queue)
        if wanted is None:
            return None
        window = self._windows[FINE].get(wanted.over_s) or self._windows[COARSE][wanted.over_s]
        times = window.sum.times.get(queue, NOTHING)
        return ObjectiveStatus(
            wanted=wanted.share,
            within_s=wanted.within_s,
            over_s=wanted.over_s,
            share=times.within(wanted.within_s),
            tasks=times.tasks,
        )


def trend(points: Iterable[HistoryPoint], queue: str) -> tuple[float | None, float | None, float | None, bool | None]:
    """Tasks that came in and were started per second, the time until nothing waits, and whether it falls behind.

    Tasks that are held have come in, and neither wait nor were started. None where that is not known: too few points,
    no worker to tell, a pause in between, or held tasks that went back or were cleared; the time also where the queue
    does not shrink.
    """
    known = [p for p in points if queue in p.waiting and queue in p.started_per_s]
    if len(known) < FEWEST_POINTS or any(not p.paused.isdisjoint({"*", queue}) for p in known):
        return None, None, None, None
    held = [p.held.get(queue, 0) for p in known]
    if any(now < before for before, now in pairwise(held)):
        return None, None, None, None
    at = [p.at.timestamp() for p in known]
    slope = statistics.linear_regression(at, [p.waiting[queue] for p in known]).slope
    set_aside = statistics.linear_regression(at, held).slope if held[-1] else 0.0
    started = statistics.fmean(p.started_per_s[queue] for p in known)
    arriving, waiting = max(0.0, started + slope + set_aside), known[-1].waiting[queue]
    grown = slope * (at[-1] - at[0])
    behind = bool(waiting) and grown >= GROWTH and grown >= GROWTH_SHARE * arriving * (at[-1] - at[0])
    drained_in_s = 0.0 if not waiting else waiting / -slope if slope < 0 and started > 0 else None
    return round(arriving, 3), round(started, 3), drained_in_s, behind
