"""What workers' reports of times in queues add up to: whichever worker ends, what it measured still counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from opsdash.model.time_in_queue import MOST_QUEUES, NOTHING, TimeInQueue
from opsdash.services.workers.reports import ReportedTimes

SLACK_S = 0.5
"""Of two clocks that count the seconds since a worker began."""


class TimesInQueue:
    """Follows the reports. A worker's counts begin at 0 with each start; these only grow.

    What a worker has measured after its last report, at most 2 s, is lost with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, TimeInQueue] = {}
        self._seen: dict[str, Mapping[str, TimeInQueue]] = {}
        self._looked_s: float | None = None  # monotonic

    def note(self, reports: Iterable[ReportedTimes]) -> None:
        """Takes over what has come since the last look. Cost: no round trip."""
        now_s, seen = time.monotonic(), dict[str, Mapping[str, TimeInQueue]]()
        with self._lock:
            for report in reports:
                seen[report.process] = report.by_queue
                before = self._seen.get(report.process)
                if before is report.by_queue:
                    continue
                if before is None:
                    if not self._began_since(report, now_s):
                        continue  # what it measured before this console looked belongs to no time that is known
                    before = {}
                for queue, times in report.by_queue.items():
                    new = times.since(before.get(queue, NOTHING))
                    if new and (queue in self._totals or len(self._totals) < MOST_QUEUES):
                        self._totals[queue] = self._totals.get(queue, NOTHING) + new
            self._seen, self._looked_s = seen, now_s

    def totals(self) -> dict[str, TimeInQueue]:
        """Queue → all that was measured since this console looked first; a copy."""
        with self._lock:
            return self._totals.copy()

    def _began_since(self, report: ReportedTimes, now_s: float) -> bool:
        """The worker was started after the last look, so that all of its counts are new."""
        return self._looked_s is not None and report.uptime_s + report.silent_s <= now_s - self._looked_s + SLACK_S
