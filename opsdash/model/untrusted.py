"""What others write, read without ever failing: numbers, times, JSON, names, and how much of it was left unread.

Any client of the broker may write anything under any key. Each function here takes any value and returns what it
means, or None: no error, no endless work, and no text that a screen, a file or a database refuses. Standard
library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opsdash.text import as_text
from opsdash.values import frozen

MOST_DIGITS = 18
"""Of a whole number: more do not fit into 64 bits, and nothing that is counted here has as many."""
LONGEST_FIGURE = 40
"""Characters of a number or a time."""
MOST_SECONDS = 1e11
"""Above every figure that is measured here, and still a time that a calendar knows (the year 5138)."""
LARGE = 64 * 1024
"""Characters of JSON that are looked into, unless a caller knows better: opsdash's own values have a few hundred."""
DEEP = 50
"""Levels of JSON; what goes on from here is written as JSON again, by code that calls itself."""
LONG = 200
"""Characters of a name."""
MANY = 500
"""Names of one list."""
FIRST_YEAR, LAST_YEAR = 1970, 3000


def whole(value: Any) -> int | None:
    """A count: a whole number that is not negative, as number or as text of digits."""
    if isinstance(value, str):
        return int(value) if 0 < len(value) <= MOST_DIGITS and value.isascii() and value.isdigit() else None
    return value if type(value) is int and 0 <= value < 10**MOST_DIGITS else None


def figure(value: Any, most: float = MOST_SECONDS) -> float | None:
    """A measure: from 0 to ``most``; infinities and what is no number are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and len(value) > LONGEST_FIGURE:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= most else None


def moment(value: Any) -> datetime | None:
    """A time in ISO 8601, in UTC; one that names no zone is in UTC. None where no calendar can reckon with it."""
    if not isinstance(value, str) or len(value) > LONGEST_FIGURE:
        return None
    try:
        found = datetime.fromisoformat(value)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return found if FIRST_YEAR < found.year < LAST_YEAR else None


def instant(seconds: Any) -> datetime | None:
    """A time in seconds since the epoch, in UTC."""
    number = figure(seconds)
    if number is None:
        return None
    found = datetime.fromtimestamp(number, UTC)
    return found if found.year < LAST_YEAR else None


def parsed(text: Any, most: int = LARGE) -> Any:
    """JSON; None for what is none, is longer than ``most``, or nests deeper than ``DEEP``.

    Text within it is safe; numbers that are none (``NaN``, ``1e999``, of more digits than can be) are None.
    """
    if not isinstance(text, (str, bytes)) or len(text) > most:
        return None
    try:
        decoded = text if isinstance(text, str) else text.decode()
        value = _decode(decoded)
    except (ValueError, RecursionError):
        return None
    if decoded.count("[") + decoded.count("{") > DEEP and not _shallow(value):
        return None
    # Half a pair, or NUL, comes by an escape only; JSON itself refuses the latter.
    return _safe(value) if "\\ud" in decoded or "\\uD" in decoded or "\\u0000" in decoded else value


def words(value: Any, most: int = LONG) -> str:
    """A text of at most so many characters, safe to store and to show; empty for what is none."""
    if not isinstance(value, str):
        return ""
    return as_text(value if len(value) <= most else f"{value[: most - 1]}…")


def names(value: Any) -> tuple[str, ...]:
    """The texts of a list that can be names: not empty, not longer than ``LONG``; ``MANY`` at most."""
    if not isinstance(value, list):
        return ()
    return tuple(as_text(name) for name in value[:MANY] if isinstance(name, str) and 0 < len(name) <= LONG)


def counts(value: Any) -> dict[str, int]:
    """The counts of a mapping from names; ``MANY`` at most."""
    if not isinstance(value, Mapping):
        return {}
    pairs = ((name, whole(number)) for name, number in list(value.items())[:MANY])
    return {as_text(name): number for name, number in pairs if number is not None and len(name) <= LONG}


def mapping(value: Any) -> Mapping[str, Any]:
    """The same, or an empty one in place of something else."""
    return value if isinstance(value, Mapping) else {}


@frozen(kw_only=True)
class Unread:
    """Something in Redis that was left out of what is shown.

    Attributes:
        what: Which values: ``workers' reports``, ``trash``, ``approvals``.
        names: Those that can't be read, each alone; empty when there are only too many.
        shown: How many are shown, of ``total``, where there are more than are read.
    """

    what: str
    names: tuple[str, ...] = ()
    shown: int = 0
    total: int = 0

    @property
    def message(self) -> str:
        """To show: ``Showing 1,000 of 50,000 workers' reports.``, or what can't be read."""
        if self.total:
            return f"Showing {self.shown:,} of {self.total:,} {self.what}."
        more = f" and {len(self.names) - 3:,} more" if len(self.names) > 3 else ""
        return f"Not readable, and left out, of the {self.what}: {', '.join(self.names[:3])}{more}."


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MOST_DIGITS + 1 else None


def _float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


_decode = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=lambda _name: None).decode


def _shallow(value: Any) -> bool:
    """Level by level, so that nothing here calls itself."""
    level = [value]
    for _ in range(DEEP):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return True
    return False


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, list):
        return [_safe(inner) for inner in value]
    if isinstance(value, dict):
        return {as_text(name): _safe(inner) for name, inner in value.items()}
    return value
