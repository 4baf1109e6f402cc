"""What an operation would do: lines of a kind, figures with their unit, and how far each can be relied on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Literal

from opsdash.values import frozen

Kind = Literal["will", "will_not", "warning", "note"]
"""Of a line: what will be done, what will be left alone, what to know before, and what else is worth a line."""
Exactness = Literal["exact", "estimated", "old"]
"""Of a figure: counted now, estimated from a sample, or read earlier."""
ORDER: tuple[Kind, ...] = ("will", "warning", "will_not", "note")
"""How lines are read: each surface has them in this order, and those of one kind as the operation has them."""
ONE = {"tasks": "task", "workers": "worker", "tenants": "tenant", "entries": "entry", "slots": "slot"}
"""What a unit is called where there is one of it."""
Value = int | float | str | bool | tuple[Any, ...] | Mapping[str, Any] | None


@frozen
class Line:
    """One sentence of a preview, and what kind of sentence it is.

    Attributes:
        repeats: Names of the figures and breakdowns that say all of it: who sees them can do without the sentence.
        choice: Name of the yes-or-no argument that would change it; each surface says how that is given.
    """

    kind: Kind
    text: str
    repeats: tuple[str, ...] = ()
    choice: str = ""

    def __post_init__(self) -> None:
        """A kind that no surface knows would be shown as nothing.

        Raises:
            ValueError: It is none.
        """
        if self.kind not in ORDER:
            raise ValueError(f"kind: expected one of {', '.join(ORDER)}, got {self.kind!r}")

    def __str__(self) -> str:
        return self.text


@frozen(kw_only=True)
class Figure:
    """One figure of a preview.

    Attributes:
        name: For programs, and in the audit log.
        label: What people read beside the value, e.g. ``waiting``; empty: the figure is for programs alone.
        value: None where it is not known.
        unit: What is counted or measured: ``tasks``, ``workers``, ``s``, ``bytes`` …
        exactness: ``estimated`` comes with ``error``, ``old`` with ``age_s``, where they are known.
        error: By how much it may be off, either way.
        age_s: How long ago it was read, in seconds.
    """

    name: str
    label: str = ""
    value: Value = None
    unit: str = ""
    exactness: Exactness = "exact"
    error: float | None = None
    age_s: float | None = None

    @property
    def shown(self) -> bool:
        """It is a number, and has a label: people are shown it."""
        return bool(self.label) and isinstance(self.value, int | float) and not isinstance(self.value, bool)

    @property
    def shown_unit(self) -> str:
        """The unit to show beside the value; empty if the label has it."""
        return "" if self.unit in self.label.split() else self._counted(self.unit)

    @property
    def shown_label(self) -> str:
        """The label; of one, where it has the unit."""
        return self._counted(self.label)

    def _counted(self, words: str) -> str:
        one = ONE.get(self.unit) if self.value == 1 else None
        return words.replace(self.unit, one) if one else words


@frozen(kw_only=True)
class Part:
    """One row of a breakdown. ``error``: by how much the value may be off, either way; None where it was counted."""

    name: str
    value: int
    error: int | None = None


@frozen(kw_only=True)
class Breakdown:
    """What a figure is made of, such as tasks by name.

    Attributes:
        name: For programs, and in the audit log.
        label: What people read above it; empty: it is for programs alone.
        parts: Most first. ``others``: what is in none of them; None where there is nothing else.
        exactness: ``estimated``: a part has its ``error``, and rare ones may be missing.
    """

    name: str
    label: str = ""
    parts: tuple[Part, ...] = ()
    unit: str = ""
    exactness: Exactness = "exact"
    others: Part | None = None

    def first(self, most: int) -> tuple[Part, ...]:
        """At most this many rows; the last one sums up the others."""
        rows = (*self.parts, *([self.others] if self.others else []))
        if len(rows) <= most:
            return rows
        kept, rest = rows[: most - 1], rows[most - 1 :]
        errors = [part.error for part in rest if part.error is not None]
        value = sum(part.value for part in rest)
        return (*kept, Part(name=f"{len(rest):,} others", value=value, error=sum(errors) if errors else None))


@frozen(kw_only=True)
class Preview:
    """What an operation would do, read without changing anything.

    Attributes:
        title: What is about to be done, with its target; empty: as the operation's ``heading`` says it.
        warning: One sentence: what this does to a running system; empty: the operation's own.
        button: What the button that does it says, such as ``Clear 312 tasks``; empty: the title.
        lines: What would happen and what would not, one sentence each; ``in_order`` has them as they are read.
        taken_at: When it was read, in UTC: a confirmation that comes much later is refused.
        figures: The numbers. ``breakdowns``: what they are made of.
        choices: Names of the operation's yes-or-no arguments that matter now, for the dialog to ask.
        boundary: The watermark: tasks that arrive later are not touched.
        phrase: The text to type beside ``YES``; empty: none.
    """

    title: str = ""
    warning: str = ""
    button: str = ""
    lines: tuple[Line, ...] = ()
    figures: tuple[Figure, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    choices: tuple[str, ...] = ()
    boundary: Mapping[str, Any] = field(default_factory=dict)
    phrase: str = ""
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    @property
    def in_order(self) -> tuple[Line, ...]:
        """The lines as every surface has them."""
        return tuple(sorted(self.lines, key=lambda line: ORDER.index(line.kind)))

    def figure(self, name: str) -> Figure:
        """The figure of this name.

        Raises:
            KeyError: There is none.
        """
        for one in self.figures:
            if one.name == name:
                return one
        raise KeyError(name)

    def values(self) -> dict[str, Any]:
        """Every figure and breakdown by name, errors of estimates as ``NAME_error``: as the audit log keeps them."""
        found: dict[str, Any] = {}
        for figure in self.figures:
            found[figure.name] = list(figure.value) if isinstance(figure.value, tuple) else figure.value
            if figure.error is not None:
                found[f"{figure.name}_error"] = figure.error
        for breakdown in self.breakdowns:
            rows = (*breakdown.parts, *([breakdown.others] if breakdown.others else []))
            found[breakdown.name] = {part.name: part.value for part in rows}
            if breakdown.exactness == "estimated":
                found[f"{breakdown.name}_error"] = {part.name: part.error for part in rows if part.error is not None}
        return found
