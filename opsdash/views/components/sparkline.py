"""A small line over time, as the paths that a component draws: made once per reading for all pages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from opsdash.text import format_duration

WIDTH, HEIGHT = 96, 28
FAR = 3
"""So many usual steps without a point are a gap."""


def sparkline(points: Sequence[Sequence[float]]) -> list[str] | None:
    """The line, the area below it, and what its title says: least and most.

    Args:
        points: ``[second, value]``, or ``[second]`` where there was no value. That is a gap, and is drawn as one.

    Returns:
        None where fewer than two values are known.
    """
    values = [point[1] for point in points if len(point) > 1]
    if len(values) < 2:
        return None
    first, span_s, most = points[0][0], max(1, points[-1][0] - points[0][0]), max(values)
    runs = [[_place(point, first, span_s, most) for point in run] for run in _runs(points)]
    through = ["L".join(run if len(run) > 1 else run * 2) for run in runs]
    areas = [f"M{run[0].partition(' ')[0]} {HEIGHT}L{line}L{run[-1].partition(' ')[0]} {HEIGHT}Z"
             for run, line in zip(runs, through, strict=True)]  # fmt: skip
    title = f"{format_duration(span_s)}: least {_said(min(values))}, most {_said(most)}"
    return ["".join(f"M{line}" for line in through), "".join(areas), title]


def _runs(points: Sequence[Sequence[float]]) -> list[list[Sequence[float]]]:
    """Points that are drawn as one line."""
    steps = sorted(later[0] - point[0] for point, later in pairwise(points))
    far = FAR * steps[len(steps) // 2]
    runs: list[list[Sequence[float]]] = []
    last: Sequence[float] = ()
    for point in points:
        if len(point) > 1:
            if len(last) < 2 or point[0] - last[0] > far:
                runs.append([])
            runs[-1].append(point)
        last = point
    return runs


def _place(point: Sequence[float], first: float, span_s: float, most: float) -> str:
    x = (point[0] - first) / span_s * (WIDTH - 2) + 1
    y = HEIGHT - 2 - point[1] / (most or 1) * (HEIGHT - 4)
    return f"{x:.1f} {y:.1f}"


def _said(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0") if abs(value) < 100 else f"{value:,.0f}"
