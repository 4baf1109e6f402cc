"""What was measured, as numbers and as a table: medians, spread, ratios, Markdown. No input or output."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OPSDASH, RIVAL, LIMIT = "opsdash", "rival", "limit"
HEAD = ("row", "work", "opsdash", "others", "limit", "rounds; load; date")


@dataclass(frozen=True)
class Measured:
    """One contestant at one row.

    Attributes:
        kind: ``opsdash``, ``rival`` or ``limit``.
        how: By which call or command.
        values: One per round; none where it does not do this.
        why: Why there are no values.
    """

    name: str
    kind: str
    how: str = ""
    values: tuple[float, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One row of the table, as it is kept in the JSON file.

    Attributes:
        more: A greater value is the better one.
        load: The least and the greatest load average of the rounds, over one minute.
        versions: Of what took part.
    """

    name: str
    what: str
    unit: str
    more: bool
    contestants: tuple[Measured, ...]
    load: tuple[float, float] = (0.0, 0.0)
    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def own(self) -> Measured:
        """Opsdash's own figure: the first of its kind."""
        return next(one for one in self.contestants if one.kind == OPSDASH)

    def ratio(self, other: Measured) -> float | None:
        """How many times as good opsdash is: the median of the rounds' ratios; None where one of them is zero."""
        own, values = self.own.values, other.values
        pairs = list(zip(own, values, strict=False)) if self.more else list(zip(values, own, strict=False))
        if not pairs or any(bottom <= 0 for _, bottom in pairs):
            return None
        return statistics.median(top / bottom for top, bottom in pairs)

    def more_rounds(self, later: Row) -> Row:
        """This row with the rounds of a later run behind its own; the load of both."""
        found = {one.name: one for one in self.contestants}
        joined = tuple(
            Measured(one.name, one.kind, one.how, found[one.name].values + one.values, one.why)
            if one.name in found
            else one
            for one in later.contestants
        )
        load = (min(self.load[0], later.load[0]), max(self.load[1], later.load[1]))
        return Row(later.name, later.what, later.unit, later.more, joined, load, later.date, later.versions)

    def to_plain(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return {
            "what": self.what,
            "unit": self.unit,
            "more": self.more,
            "load": list(self.load),
            "date": self.date,
            "versions": dict(self.versions),
            "contestants": [
                {"name": one.name, "kind": one.kind, "how": one.how, "why": one.why, "values": list(one.values)}
                for one in self.contestants
            ],
        }

    @classmethod
    def from_plain(cls, name: str, plain: Mapping[str, Any]) -> Row:
        """As it was read from JSON."""
        contestants = tuple(Measured(**{**one, "values": tuple(one["values"])}) for one in plain["contestants"])
        return cls(
            name=name,
            what=plain["what"],
            unit=plain["unit"],
            more=plain["more"],
            contestants=contestants,
            load=tuple(plain["load"]),
            date=plain["date"],
            versions=plain["versions"],
        )


def number(value: float) -> str:
    """Three digits that count, and separators of thousands."""
    if value == 0:
        return "0"
    for least, places in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= least:
            return f"{value:,.{places}f}"
    return f"{value:.2g}"


def spread(values: Sequence[float], unit: str) -> str:
    """Median, minimum and maximum; one number where they are all the same."""
    middle, low, high = (number(of(values)) for of in (statistics.median, min, max))
    return f"{middle} {unit}" if low == high else f"{middle} {unit} ({low} to {high})"


def markdown(rows: Iterable[Row]) -> str:
    """The table, with the versions above it."""
    rows = list(rows)
    lines = [_versions(rows), "", _line(HEAD), _line(["---"] * len(HEAD))]
    lines += [_line(_cells(row)) for row in rows]
    if worse := [f"`{row}` {name} {number(1 / ratio)}" for row, name, ratio in lost(rows)]:
        lines += ["", f"Where a rival is better, and how many times: {', '.join(worse)}."]
    return "\n".join(lines) + "\n"


def lost(rows: Iterable[Row]) -> list[tuple[str, str, float]]:
    """Row, name and ratio of every rival that did better than opsdash, the worst first."""
    found = [(row.name, one.name, row.ratio(one)) for row in rows for one in row.contestants if one.kind == RIVAL]
    return sorted(((row, name, ratio) for row, name, ratio in found if ratio and ratio < 1), key=lambda one: one[2])


def _versions(rows: Sequence[Row]) -> str:
    versions: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, version in row.versions.items():
            versions.setdefault(name, {})[version] = None
    return ", ".join(f"{name} {' and '.join(found)}" for name, found in sorted(versions.items())) + "."


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cells(row: Row) -> list[str]:
    kinds = {kind: [one for one in row.contestants if one.kind == kind] for kind in (OPSDASH, RIVAL, LIMIT)}
    rounds = max(len(one.values) for one in row.contestants)
    low, high = (f"{load:.1f}" for load in row.load)
    load = low if low == high else f"{low} to {high}"
    columns = ["<br>".join(_lines(row, kinds[kind])) for kind in (OPSDASH, RIVAL, LIMIT)]
    return [f"`{row.name}`", row.what, *columns, f"{rounds}; {load}; {row.date}"]


def _lines(row: Row, contestants: Iterable[Measured]) -> Iterator[str]:
    """A line for each that did it, and one for all that have the same reason not to."""
    reasons: dict[str, list[str]] = {}
    for one in contestants:
        if one.values:
            yield _line_of(row, one)
        else:
            reasons.setdefault(one.why, []).append(one.name)
    yield from (f"{', '.join(names)}: {why}" for why, names in reasons.items())


def _line_of(row: Row, one: Measured) -> str:
    how = f", {one.how}" if one.how else ""
    found = spread(one.values, row.unit)
    if one is row.own:
        return found + how
    ratio = row.ratio(one)
    times = "" if ratio is None else f": **{number(ratio)}**" if ratio < 1 else f": {number(ratio)}"
    return f"{one.name} {found}{how}{times}".lstrip()
