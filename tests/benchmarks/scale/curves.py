"""What a curve is: figures at several sizes, and how they grow beside what grows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Curve:
    """One dimension's run.

    Attributes:
        name: Of the dimension, such as ``workers``.
        points: Size → figure → value. A figure's name ends in its unit: ``snapshot, ms``.
        about: When, with what versions and beside what load it was measured, and what else must be known.
    """

    name: str
    points: Mapping[int, Mapping[str, float]]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def figures(self) -> list[str]:
        """All that were measured, in the order of the first size that has them."""
        return list(dict.fromkeys(name for figures in self.points.values() for name in figures))

    def of(self, figure: str) -> dict[int, float]:
        """One figure by size."""
        return {size: figures[figure] for size, figures in sorted(self.points.items()) if figure in figures}

    def growth(self, figure: str) -> float | None:
        """The exponent at the large end: 1 when it grows as the size does, 0 when it stays as it is.

        Of the last three sizes, by least squares of the logarithms: what a figure costs at size 0 hides its growth at
        the small end. None of fewer than two.
        """
        values = [(math.log(size), math.log(value)) for size, value in self.of(figure).items() if value > 0][-3:]
        if len(values) < 2:
            return None
        return statistics.linear_regression(*zip(*values, strict=True)).slope

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        points = {str(size): dict(figures) for size, figures in sorted(self.points.items())}
        return {"about": dict(self.about), "points": points}

    @classmethod
    def from_plain(cls, name: str, plain: Mapping[str, Any]) -> Curve:
        """From JSON."""
        return cls(name, {int(size): figures for size, figures in plain["points"].items()}, plain["about"])


def unit(figure: str) -> str:
    """``ms`` of ``snapshot, ms``."""
    return figure.rpartition(", ")[2]


def number(value: float) -> str:
    """Three digits that count, or all before the point."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits):,.{digits}f}"


def table(curve: Curve) -> str:
    """As Markdown: a row for each figure, a column for each size, and how it grows."""
    sizes = sorted(curve.points)
    head = ["", *(f"{size:,}" for size in sizes), "grows as"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for figure in curve.figures:
        values, grows = curve.of(figure), curve.growth(figure)
        cells = [number(values[size]) if size in values else "" for size in sizes]
        rows.append([figure, *cells, "" if grows is None else f"size^{abs(grows) if abs(grows) < 0.05 else grows:.1f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of several rounds."""
    names = dict.fromkeys(name for one in rounds for name in one)
    return {name: statistics.median(one[name] for one in rounds if name in one) for name in names}
