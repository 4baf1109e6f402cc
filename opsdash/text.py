"""Figures and durations as an operator reads and writes them."""

from __future__ import annotations

import difflib
import math
import re
import shlex
from collections.abc import Iterable
from typing import Any

NAME, MANY = 100, 1_000
"""Characters of a name to choose from, and names that are looked at for one like it."""


def as_text(text: str) -> str:
    """Text that databases, files and screens take: NUL and half surrogate pairs are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""As ``components/base.js`` has it."""


def visible(text: str) -> str:
    """Text for a page: what no eye sees, or what turns round the letters after it, is written as an escape."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"<>]+/)+(?=[^\s/'\"<>])")


def without_folders(text: str) -> str:
    """The text with every file's name and no file's place: ``/srv/app/conf.py`` is ``…/conf.py``."""
    return _FOLDERS.sub("…/", text)


def safe(value: Any) -> Any:
    """A value of JSON's kinds, its texts and names as ``as_text`` writes them."""
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, dict):
        return {as_text(name): safe(inner) for name, inner in value.items()}
    return [safe(inner) for inner in value] if isinstance(value, list) else value


def format_duration(seconds: float) -> str:
    """Seconds as an operator reads them: ``2h 34m 12s``, days in front where there are any."""
    total = max(0, int(seconds))
    days, total = divmod(total, 86_400)
    hours, total = divmod(total, 3_600)
    minutes, rest = divmod(total, 60)
    parts = [f"{days}d"] if days else []
    if days or hours:
        parts.append(f"{hours}h")
    if days or hours or minutes:
        parts.append(f"{minutes}m")
    return " ".join([*parts, f"{rest}s"])


def in_words(seconds: float) -> str:
    """A time as people say it: ``40 seconds``, ``5 minutes``, ``2 hours``, ``3 days``."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return count(int(seconds // size), unit)
    return count(max(0, int(seconds)), "second")


def chosen_time(seconds: int) -> str:
    """A duration that someone chose, in the largest unit that says it exactly: ``24 hours``, ``90 minutes``."""
    for unit, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % unit == 0 and seconds >= unit and seconds != 86_400:
            return count(seconds // unit, noun)
    return "24 hours" if seconds == 86_400 else count(seconds, "second")


def format_size(size_bytes: int | None) -> str | None:
    """Bytes as an operator reads them: ``512 B``, ``6.3 kB``, ``1.2 GB``; None stays None."""
    if size_bytes is None:
        return None
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def at_least(seconds: float, *, unsure: bool) -> str:
    """A duration; ``≥ 5m 3s`` where it is known to be no shorter."""
    return f"≥ {format_duration(seconds)}" if unsure else format_duration(seconds)


MOST_CHARS = 40
"""Of a typed duration: a number of more digits is none that could be meant."""
MOST_BARE_DIGITS = 8
"""Of a number without a unit that is asked about: a longer one is no duration with any."""
LONGEST_DURATION_S = 100 * 365 * 86_400
"""What can be typed: above every act's own bound, and below what a calendar can't reckon with."""


def parse_duration(text: str, *, bare_seconds: bool = False) -> int:
    """``45s``, ``10m``, ``2h``, ``1d`` or ``1h30m`` as seconds, ``LONGEST_DURATION_S`` at most.

    A number alone is refused: who types 15 may mean minutes.

    Args:
        text: As it was typed.
        bare_seconds: A number alone is seconds: in what a file says, as a container's hook, nobody meant minutes.

    Raises:
        ValueError: With a sentence for the operator.
    """
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    stripped = text.strip().lower()
    if stripped.isascii() and stripped.isdigit() and len(stripped) <= MOST_BARE_DIGITS and int(stripped):
        if bare_seconds:
            stripped += "s"
        else:
            raise ValueError(f"{stripped} of what? Write {stripped}m or {stripped}s")
    total, digits = 0, ""
    for char in stripped[:MOST_CHARS]:
        if char.isascii() and char.isdigit():
            digits += char
        elif char in units and digits:
            total += int(digits) * units[char]
            digits = ""
        else:
            total = 0
            break
    if digits or total <= 0:
        shown = text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"
        raise ValueError(f"{shown!r} is not a duration; write for example 90s, 10m, 2h or 1h30m")
    if total > LONGEST_DURATION_S or len(stripped) > MOST_CHARS:
        raise ValueError(f"expected a duration of at most {LONGEST_DURATION_S // 86_400:,} days")
    return total


def typed_duration(seconds: int) -> str:
    """Seconds as ``parse_duration`` reads them: ``14m40s``, ``2h``."""
    parts = [part for part in format_duration(seconds).split() if part[:-1] != "0"]
    return "".join(parts) or "0s"


def shown_rate(per_s: float) -> str:
    """``10/s``, ``6/m``, ``30/h``: in the unit that makes it one or more."""
    each, unit = next(((s, unit) for s, unit in ((1, "s"), (60, "m")) if per_s * s >= 1), (3_600, "h"))
    return f"{per_s * each:.3g}/{unit}" if per_s * each < 1_000 else f"{per_s * each:g}/{unit}"


def parse_rate(text: str) -> float:
    """``10/s``, ``90/m`` or ``600/h`` as tasks a second; a number alone is of a second.

    Raises:
        ValueError: With a sentence for the operator.
    """
    number, _, unit = text.strip().lower().partition("/")
    per = {"": 1, "s": 1, "m": 60, "h": 3_600}.get(unit)
    try:
        found = float(number) / per if per and len(number) <= 20 else math.nan
    except ValueError:
        found = math.nan
    if not 0 < found <= 1e6:
        raise ValueError(f"{text[:40]!r} is not a rate; write for example 10/s, 90/m or 600/h")
    return found


def searched(number: int, of: int | None, *, further: bool = False) -> str:
    """What a search for a text has looked through, where that was not everything.

    Args:
        of: All that there are to search; None: more than were counted.
        further: It has gone on where an earlier one ended.
    """
    which = "a further" if further else "the newest"
    return f"Searched {which} {number:,} {'entries' if of is None else f'of {of:,} entries'}"


def shell_word(text: str) -> str:
    r"""One word of a command to paste. With control characters it is bash's ``$'…'``: a terminal would change them."""
    if all(char.isprintable() for char in text):
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 0x80 else f"\\U{ord(char):08x}"


def count(number: int, noun: str) -> str:
    """``1 task``, ``1,204 tasks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def choices(names: Iterable[str], typed: str = "", most: int = 10) -> str:
    """Names to choose from; of many a few, those like what was typed first; ``none`` for none at all."""
    known = list(dict.fromkeys(names))
    near = difflib.get_close_matches(typed[:NAME], known[:MANY], cutoff=0.6) if typed and len(known) > most else []
    ordered = [*near, *(name for name in known if name not in near)]
    shown = [name if len(name) <= NAME else f"{name[: NAME - 1]}…" for name in ordered[:most]]
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(shown) + more if shown else "none"
