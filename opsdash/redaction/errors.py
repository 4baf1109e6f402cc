"""What an exception says, and its traceback, as an operator may see them: bounded, and without what looks secret.

Beside what the classifier knows, nothing of a task's hidden arguments is shown: an error tends to repeat them
(``KeyError: 'hunter2'``), and there they have no name to be known by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from opsdash.redaction import HIDDEN, ITSELF, hidden_items, hidden_keys, is_secret_text, masked, name_of

LARGE = 8 * 1024
"""Characters of an error that are looked at: some 5 ms."""
LARGE_TRACEBACK = 64 * 1024
"""Characters of a traceback above which only its frames are looked at."""
MOST_VALUES, MOST_HIDDEN = 20_000, 200
"""Arguments that are looked through for hidden ones, and hidden ones that are looked for in an error."""
SHORTEST_VALUE = 4
"""Characters of a hidden argument that is looked for: a shorter one is part of any text."""
DEEP = 40
NOT_SHOWN = "not shown (too many arguments to tell what of them is secret)"
_NOTHING = r"(?!)"
_FRAME = '  File "'
_PARTS = (
    re.compile(r"[:=]\s{0,3}[\"']?([^\s\"'&;,@]{4,200})"),
    re.compile(r"://[^\s:@/]{0,128}:([^\s@]{4,200})@"),
    re.compile(r"\A\s*(?:bearer|basic|token|digest|negotiate|apikey)\s+(\S{4,})", re.IGNORECASE),
)
"""What may be the secret in an argument that is hidden as a whole: ``user=x password=…``, ``redis://:…@host``."""
_CACHED = 300


def hidden_values(args: Any, kwargs: Any, redact: str = "") -> list[str] | None:
    """Texts of a task's arguments that are hidden where the arguments are shown, the longest first.

    Args:
        args: Values of JSON's kinds, like ``kwargs``; others, which were pickled, are not looked into.
        redact: As for `shown_arguments`.

    Returns:
        None when there are too many arguments, or hidden ones, to look through.
    """
    pattern, left, found = re.compile(redact or _NOTHING), MOST_VALUES, set[str]()
    waiting: list[tuple[Any, bool, int]] = [(args, False, 0), (kwargs, False, 0)]
    while waiting:
        value, hidden, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > DEEP or len(found) > MOST_HIDDEN:
            return None
        if isinstance(value, dict):
            waiting += [(one, hidden or hides, depth + 1) for one, hides in _named(value, pattern)]
        elif isinstance(value, (list, tuple)):
            places = hidden_items(value)
            waiting += [(one, hidden or at in places, depth + 1) for at, one in enumerate(value)]
        elif isinstance(value, str):
            if hidden or is_secret_text(value) or pattern.search(value):
                found.update(_texts(value))
        elif isinstance(value, int | float) and not isinstance(value, bool) and (hidden or pattern.search(str(value))):
            found.update(_texts(str(value)))
    return sorted(found, key=len, reverse=True)


def _named(values: Mapping[Any, Any], pattern: re.Pattern[str]) -> Iterator[tuple[Any, bool]]:
    hidden = hidden_keys(values)
    for name, value in values.items():
        yield value, name in hidden or pattern.search(str(name)) is not None
        if isinstance(name, str) and name_of(name) & ITSELF:
            yield name, True


def _texts(value: str) -> Iterator[str]:
    """The text, parts of it that may be the secret, and all as Python and JSON write them."""
    for text in (value, *(part for pattern in _PARTS for part in pattern.findall(value[:LARGE]))):
        if len(text) >= SHORTEST_VALUE:
            yield from (text, repr(text)[1:-1], json.dumps(text)[1:-1])


def without(text: str, values: Iterable[str]) -> str:
    """The text without these values."""
    for value in values:
        if value in text:
            text = text.replace(value, HIDDEN)
    return text


def shown_error(text: str, values: Sequence[str] | None, redact: str = "", *, most: int) -> str:
    """What an exception says, ``most`` characters and an ellipsis at most.

    Args:
        values: As of `hidden_values`.
        redact: A line in which it finds something is hidden.
    """
    if values is None:
        return NOT_SHOWN
    cut = len(text) > LARGE
    shown = "\n".join(_lines(masked(without(text[:LARGE], values)), redact))
    if cut:  # a secret that was cut in two is not known by its first half
        shown = shown.rpartition(" ")[0]
    return shown if len(shown) <= most and not cut else f"{shown[:most]}…"


def shown_traceback(text: str, values: Sequence[str] | None, redact: str = "", *, most: int) -> str:
    """A traceback, ``most`` characters at most: of a longer one the beginning, and more of its end, which says most."""
    if values is None:
        values, text = (), "\n".join(_frames_of(text.splitlines()))
    elif len(text) > LARGE_TRACEBACK:
        text = "\n".join(_frames_of(text.splitlines()))
    lines = _lines("\n".join(_masked(without(text, values).splitlines())), redact)
    return _bounded(lines, most)


def _frames_of(lines: Iterable[str]) -> Iterator[str]:
    """The frames without what the errors say: that alone may be of any length, and have a secret in many lines."""
    in_frame = False
    for line in lines:
        in_frame = line.startswith(_FRAME) or (in_frame and line.startswith("    "))
        if in_frame and len(line) < 1_000:
            yield line


def _masked(lines: Iterable[str]) -> Iterator[str]:
    """Frames line by line, since they are the same in many tracebacks; what an error says as a whole."""
    in_frame, told = False, list[str]()
    for line in lines:
        in_frame = line.startswith(_FRAME) or (in_frame and line.startswith("    "))
        if not in_frame:
            told.append(line)
            continue
        if told:
            yield _part("\n".join(told))
            told.clear()
        yield _part(line)
    if told:
        yield _part("\n".join(told))


def _part(text: str) -> str:
    return _cached(text) if len(text) <= _CACHED else masked(text)


_cached = lru_cache(maxsize=4_096)(masked)


def _lines(text: str, redact: str) -> list[str]:
    """Its lines; what the expression finds something in is hidden, several at once as one."""
    if not redact:
        return text.split("\n")
    pattern, lines = re.compile(redact), list[str]()
    for line in text.split("\n"):
        shown = HIDDEN if pattern.search(line) else line
        if shown != HIDDEN or not lines or lines[-1] != HIDDEN:
            lines.append(shown)
    return lines


def _bounded(lines: list[str], most: int) -> str:
    text = "\n".join(lines)
    if len(text) <= most:
        return text
    head, tail, size = list[str](), list[str](), 4
    first, last = 0, len(lines) - 1
    while first <= last:
        at_end = len(tail) <= 3 * len(head)  # three lines of the end for one of the beginning
        line = lines[last if at_end else first][:1_000]
        size += len(line) + 1
        if size > most:
            break
        (tail if at_end else head).append(line)
        first, last = (first, last - 1) if at_end else (first + 1, last)
    return "\n".join([*head, "  …", *reversed(tail)])
