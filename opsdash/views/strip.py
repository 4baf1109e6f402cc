"""The strip of the page, what is going on at a glance: plain functions on plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsdash.model import HistoryPoint
from opsdash.state.status import SystemStatus
from opsdash.text import count, format_duration

RECENT_S = 15 * 60
WHOLE = 0.95
"""Of that time, where it is called the whole."""


def spark_point(point: HistoryPoint, value: float | None) -> list[float]:
    """One point of a small line; without a value it is a gap."""
    at = round(point.at.timestamp())
    return [at] if value is None else [at, value]


def sparks(recent: Iterable[HistoryPoint]) -> dict[str, list[list[float]]]:
    """The strip's lines: figure → points; a missing value is a gap."""
    points = list(recent)
    return {
        "waiting": [spark_point(p, sum(p.waiting.values()) if p.waiting else None) for p in points],
        "rate": [spark_point(p, round(sum(p.started_per_s.values()), 2) if p.started_per_s else None) for p in points],
        "failed": [spark_point(p, p.failed_per_s) for p in points],
        "online": [spark_point(p, p.online) for p in points],
        "busy": [spark_point(p, p.active) for p in points],
        "redis_ms": [spark_point(p, p.redis_ms) for p in points],
    }


def figures(status: SystemStatus, recent: Iterable[HistoryPoint] = ()) -> dict[str, list[Any]]:
    """The strip's figures as ``[value, unit]``; what is not known is not there. A value may be in words, too."""
    online = [worker for worker in status.workers if worker.reports]
    counted = [worker for worker in status.workers if worker.state != "offline"]  # a silent one may still run its tasks
    others = len(status.others or ())
    slots = sum(worker.concurrency for worker in counted)
    found: dict[str, list[Any]] = {}
    if status.known:
        unread = sum(bool(queue.error) for queue in status.queues)
        where = f"in {count(len(status.queues) - unread, 'queue')}" + (f", {unread} unreadable" if unread else "")
        found["waiting"] = [sum(queue.waiting for queue in status.queues), where]
        takes_none = sum(worker.condition in ("quiet", "draining", "drained") for worker in online)
        known_workers = f"of {len(status.workers) + others}"
        none = f", {takes_none} {'takes' if takes_none == 1 else 'take'} no tasks" if takes_none else ""
        if online or others or not any(worker.state == "silent" for worker in status.workers):
            found["online"] = [len(online) + others, known_workers + none]  # else they may be on their way back
        found["busy"] = [sum(worker.active for worker in counted), f"of {slots:,}" if slots else ""]
    if status.redis_ms is not None:
        # Tenths would change at each reading, and be sent to every page.
        found["redis_ms"] = [round(status.redis_ms) if status.redis_ms >= 1 else "< 1", "ms"]
    points = list(recent)
    if (latest := latest_rates(points)) is not None:
        window = f"started/s, {latest.step.total_seconds():g} s"
        found["rate"] = [round(sum(latest.started_per_s.values()), 1), window]
    if (failures := _failures(points)) is not None:
        found["failed"] = failures
    return found


def as_words(found: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """Figures as the strip takes them: a number with a digit behind the point only where it is small."""
    return {name: [_number(value), *more] for name, (value, *more) in found.items()}


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.1f}".removesuffix(".0") if abs(value) < 100 else f"{value:,.0f}"


def _failures(recent: Iterable[HistoryPoint]) -> list[Any] | None:
    """How many tasks failed in the time that was recorded, and which share of those started; None: not known."""
    points = [(p, p.failed_per_s, p.step.total_seconds()) for p in recent if p.failed_per_s is not None]
    if not points:
        return None
    failed = round(sum(per_s * step_s for _, per_s, step_s in points))
    started = sum(sum(p.started_per_s.values()) * step_s for p, _, step_s in points)
    seen_s = sum(step_s for _, _, step_s in points)
    # Rates are rounded, and nobody looked in the gaps: the share is about right, and the time is what was seen.
    share = f"≈ {_percent(min(100.0, 100 * failed / started))} of started" if failed and started else ""
    seen = f"{format_duration(seen_s)} seen" if seen_s < WHOLE * RECENT_S else ""
    return [failed, ", ".join(filter(None, [share, seen]))]


def _percent(share: float) -> str:
    """With a digit behind the point where the share is small; never 0 for something."""
    return "0.1 % or less" if share <= 0.1 else f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def latest_rates(points: Sequence[HistoryPoint]) -> HistoryPoint | None:
    """The newest point that knows rates, if it is one of the last three buckets: a console's first point has none."""
    return next((p for p in reversed(points) if p.started_per_s and p.at >= points[-1].at - 2 * p.step), None)
