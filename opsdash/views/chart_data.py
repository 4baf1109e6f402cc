"""What the charts draw and say of a history: plain functions on plain values, every gap a gap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opsdash.model import AuditEntry, HistoryPoint
from opsdash.operation import heading_of

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource

GAP = 2.5
"""Steps between two points above which nobody looked: a gap, drawn as one."""
ALL = "*"
"""In place of a queue: the pause of all of them."""
PLACES = 6
"""Labels of operations that fit beside each other above a chart."""
MOST_SAID = 4
"""Operations of one moment that a tooltip names; the rest is counted."""
NOTHING = float("nan")
Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Measure:
    """One of the two figures: what it shows of a point, and how.

    Attributes:
        field: Prefix of its columns. ``form``: of its axis, for Bokeh.
        digits: Of a value below ten in words. ``least``: where a logarithmic axis begins, and draws 0.
    """

    field: str
    title: str
    form: str
    digits: int
    least: float

    def of(self, point: HistoryPoint, queue: str) -> float:
        """The value; NaN where nobody knows it."""
        known = point.waiting if self.field == "w" else point.started_per_s
        return known.get(queue, NOTHING)

    def said(self, value: float) -> str:
        """The value in words."""
        if value != value:
            return "\N{EN DASH}"
        return f"{value:,.{self.digits if value < 10 else 0}f}"


WAITING = Measure("w", "Waiting tasks", "0,0", 0, 0.5)
STARTED = Measure("r", "Tasks started per second", "0,0.[0]", 1, 0.05)
MEASURES = (WAITING, STARTED)


def with_gaps(points: Iterable[HistoryPoint]) -> list[HistoryPoint | datetime]:
    """The points, and where nobody looked between two of them, the beginning and the end of that time.

    Both, because under a pointer that is between two rows the nearer one counts.
    """
    found: list[HistoryPoint | datetime] = []
    last: HistoryPoint | None = None
    for point in points:
        if last is not None and point.at - last.at > point.step * GAP:
            end = point.at - point.step
            found += [min(last.at + last.step, end), end]
        found.append(point)
        last = point
    return found


def columns(
    points: Sequence[HistoryPoint], queues: Sequence[str], operations: Iterable[AuditEntry] = (), *, log: bool = False
) -> Columns:
    """A row per point: where each line is, and what the tooltip says there. In a gap there are no values.

    Args:
        log: For a logarithmic axis, on which 0 has no place: it is drawn where the axis begins.
    """
    rows = with_gaps(points)
    acts = _nearest(operations, points)
    made: Columns = {"at": [], "hit": [], "when": [], "acts": []}
    made |= {f"{name}{i}": [] for i in range(len(queues)) for name in ("w", "r", "W", "R", "p", "h")}
    for row in rows:
        point = row if isinstance(row, HistoryPoint) else None
        made["at"].append(ms(row if isinstance(row, datetime) else row.at))
        made["hit"].append(NOTHING if point is None else 0.5)
        made["when"].append("" if point is None else f"{point.at:%Y-%m-%d %H:%M:%S} UTC")
        made["acts"].append("" if point is None else _acts_said(acts.get(point.at, ())))
        for i, queue in enumerate(queues):
            paused = point is not None and bool(point.paused & {ALL, queue})
            held = point.held.get(queue, 0) if point is not None else 0
            made[f"p{i}"].append(", ".join(["paused"] * paused + [f"{held:,} held"] * bool(held)))
            made[f"h{i}"].append(held or NOTHING)
            for measure in MEASURES:
                value = NOTHING if point is None else measure.of(point, queue)
                drawn = max(value, measure.least) if log and value == value else value
                made[f"{measure.field}{i}"].append(drawn)
                made[f"{measure.field.upper()}{i}"].append(measure.said(value))
    return made


def _nearest(operations: Iterable[AuditEntry], points: Sequence[HistoryPoint]) -> dict[datetime, list[AuditEntry]]:
    """Time of a point → what was done nearer to it than to others, oldest first; what was done in a gap is left out."""
    times = [point.at for point in points]
    found: dict[datetime, list[AuditEntry]] = {}
    for entry in sorted(operations, key=lambda entry: entry.timestamp):
        i = bisect_left(times, entry.timestamp)
        close = min(points[max(0, i - 1) : i + 1], key=lambda point: abs(point.at - entry.timestamp), default=None)
        if close is not None and abs(close.at - entry.timestamp) <= close.step:
            found.setdefault(close.at, []).append(entry)
    return found


def _acts_said(operations: Sequence[AuditEntry]) -> str:
    said = [f"{told(entry)}, {entry.timestamp:%H:%M:%S}" for entry in operations[:MOST_SAID]]
    more = len(operations) - MOST_SAID
    return "\n".join([*said, *([f"and {more} more"] if more > 0 else [])])


def told(entry: AuditEntry) -> str:
    """Who did what, to what."""
    return f"{heading_of(entry)} by {entry.user}"


def area(made: Columns, field: str, base: float) -> Columns:
    """The outline between a line and the axis: one closed shape for each stretch without a gap."""
    xs: list[float] = []
    ys: list[float] = []
    run: list[tuple[float, float]] = []

    def close() -> None:
        if len(run) > 1:
            if xs:  # what parts one shape from the next
                xs.append(NOTHING)
                ys.append(NOTHING)
            xs.extend([run[0][0], *(x for x, _ in run), run[-1][0]])
            ys.extend([base, *(y for _, y in run), base])
        run.clear()

    for x, y in zip(made["at"], made[field], strict=True):
        if y == y:
            run.append((x, y))
        else:
            close()
    close()
    return {"x": xs, "y": ys}


def pauses(points: Iterable[HistoryPoint], names: Iterable[str]) -> tuple[tuple[datetime, datetime], ...]:
    """From when to when one of these was paused: queues, or ``ALL``."""
    wanted = frozenset(names)
    found: list[tuple[datetime, datetime]] = []
    for point in points:
        if not point.paused & wanted:
            continue
        end = point.at + point.step
        if found and point.at - found[-1][1] <= point.step * (GAP - 1):
            found[-1] = (found[-1][0], end)
        else:
            found.append((point.at, end))
    return tuple(found)


def lanes(points: Sequence[HistoryPoint], queues: Sequence[str]) -> list[tuple[int, datetime, datetime]]:
    """Of each queue its own pauses: its number, from when, to when."""
    return [(i, *band) for i, queue in enumerate(queues) for band in pauses(points, (queue,))]


def labels(operations: Iterable[AuditEntry], start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Where operations get a label, and which: those that are close together share one, with how many there are more.

    They come in the order of time, whatever the order that is given.
    """
    room = (end - start) / PLACES
    found: list[list[AuditEntry]] = []
    for entry in sorted(operations, key=lambda entry: entry.timestamp):
        if not start <= entry.timestamp <= end:
            continue
        if found and entry.timestamp - found[-1][0].timestamp < room:
            found[-1].append(entry)
        else:
            found.append([entry])
    return [(one[0].timestamp, _short(heading_of(one[0])) + (f" +{len(one) - 1}" * (len(one) > 1))) for one in found]


def _short(text: str, most: int = 26) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def ms(when: datetime) -> float:
    """A time as Bokeh counts it, in UTC."""
    return when.timestamp() * 1000


def feed(source: ColumnDataSource, before: Columns, now: Columns) -> None:
    """Sends what has come at the end, where nothing else has changed but what has gone at the beginning; else all."""
    if before == now:
        return
    kept = _overlap(before, now)
    if kept:
        source.stream({name: values[kept:] for name, values in now.items()}, rollover=len(now["at"]))
    else:
        source.data = dict(now)


def _overlap(before: Columns, now: Columns) -> int:
    """How many rows at the end of what was sent are those at the beginning of what is there now."""
    if not now["at"] or before.keys() != now.keys():
        return 0
    first = bisect_left(before["at"], now["at"][0])
    size = len(before["at"]) - first
    same = 0 < size <= len(now["at"]) and all(before[name][first:] == now[name][:size] for name in now)
    return size if same else 0
