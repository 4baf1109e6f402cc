"""Task arguments as an operator may see them: bounded whatever they hold, and without what looks secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from opsdash.redaction import HIDDEN, ITSELF, hidden_items, hidden_keys, is_secret_name, is_secret_text, name_of
from opsdash.redaction.errors import NOT_SHOWN, hidden_values
from opsdash.values import frozen


@frozen
class Limits:
    """How much is written.

    Attributes:
        long: Characters of one argument. ``most``: of all together.
        deep: Levels. ``many``: items of one level.
    """

    long: int
    most: int
    deep: int
    many: int


SHOWN = Limits(long=60, most=300, deep=4, many=50)
SEARCHED = Limits(long=10_000, most=100_000, deep=20, many=2_000)
"""For a search, which may find what is beyond that which is shown, and nothing that is hidden."""
LONG, MOST, DEEP, MANY = SHOWN.long, SHOWN.most, SHOWN.deep, SHOWN.many
_NOTHING = r"(?!)"
_WORD = re.compile(r"[\w.-]{1,32}")
"""An argument's name that is shown although it looks secret: ``password`` and ``X-Auth-Token`` are, a token is not."""


def shown_body(body: Any, redact: str = "", limits: Limits = SHOWN) -> str:
    """The arguments in a task message's body, which was read as JSON; the redacting is ``shown_arguments``'."""
    if isinstance(body, dict):  # Celery's first protocol
        return shown_arguments(body.get("args"), body.get("kwargs"), redact, limits)
    if isinstance(body, list) and len(body) >= 2:
        return shown_arguments(body[0], body[1], redact, limits)
    return "not shown (no arguments of Celery's)"


def shown_arguments(args: Any, kwargs: Any, redact: str = "", limits: Limits = SHOWN) -> str:
    """Arguments as one text, ``limits.most`` characters and an ellipsis at most.

    Args:
        args: Values of JSON's kinds, like ``kwargs``; anything may be there.
        redact: Regular expression: an argument whose name or text it finds is hidden as well; empty: none.
    """
    hides = _Hides(re.compile(redact or _NOTHING))
    text = _text(args, kwargs, hides, limits)
    if HIDDEN in text:  # a copy of what is hidden may be an argument without a name
        hidden = hidden_values(args, kwargs, redact)
        if hidden is None:
            return NOT_SHOWN
        text = _text(args, kwargs, hides._replace(values=tuple(hidden)), limits)
    return text if len(text) <= limits.most else f"{text[: limits.most]}…"


def shortened(text: str, most: int = LONG) -> str:
    """A text, or its beginning and how long it is."""
    return text if len(text) <= most else f"{text[: most // 3]}… ({len(text):,} characters)"


class _Hides(NamedTuple):
    """What is hidden in a text: what the expression finds, and these values."""

    pattern: re.Pattern[str]
    values: tuple[str, ...] = ()

    def search(self, text: str) -> bool:
        """There is something to hide in it."""
        return self.pattern.search(text) is not None or any(value in text for value in self.values)


def _text(args: Any, kwargs: Any, hides: _Hides, limits: Limits) -> str:
    shown = _items(args if isinstance(args, list) else [args] if args else [], hides, 0, limits)
    if isinstance(kwargs, dict):
        shown = [*shown, *(f"{_key(name, hides)}={text}" for name, text in _named(kwargs, hides, 0, limits))]
    return ", ".join(shown)


def _items(values: list[Any], redact: _Hides, depth: int, limits: Limits) -> list[str]:
    hidden = hidden_items(values)
    if len(values) == 2 and isinstance(values[0], str) and redact.search(values[0]):
        hidden.add(1)
    shown = [
        HIDDEN if at in hidden or at + 1 in hidden else _shown(value, redact, depth, limits)
        for at, value in enumerate(values[: limits.many])
    ]
    return shown + ["…"] * (len(values) > limits.many)


def _named(values: Mapping[str, Any], redact: _Hides, depth: int, limits: Limits) -> Iterator[tuple[str, str]]:
    hidden = hidden_keys(values)
    names_secret = any(
        isinstance(value, str) and redact.search(value) for key, value in values.items() if key != "value"
    )
    for name, value in islice(values.items(), limits.many):
        hide = name in hidden or redact.search(name) or (names_secret and name == "value")
        yield name, HIDDEN if hide else _shown(value, redact, depth, limits)
    if len(values) > limits.many:
        yield "…", "…"


def _key(name: str, redact: _Hides) -> str:
    plain = _WORD.fullmatch(name) and not name_of(name) & ITSELF
    return shortened(name) if plain or (not _is_secret(name, redact) and not is_secret_name(name)) else HIDDEN


def _is_secret(text: str, redact: _Hides) -> bool:
    return is_secret_text(text) or redact.search(text)


def _shown(value: Any, redact: _Hides, depth: int, limits: Limits) -> str:
    if isinstance(value, (dict, list)) and depth >= limits.deep:
        return "…"
    if isinstance(value, dict):
        return _joined("{", (f"{_key(k, redact)}: {text}" for k, text in _named(value, redact, depth + 1, limits)), "}")
    if isinstance(value, list):
        return _joined("[", _items(value, redact, depth + 1, limits), "]")
    if not isinstance(value, str):
        return HIDDEN if redact.search(str(value)) else shortened(json.dumps(value), limits.long)
    return HIDDEN if _is_secret(value, redact) else json.dumps(shortened(value, limits.long), ensure_ascii=False)


def _joined(opening: str, parts: Iterable[str], closing: str) -> str:
    return opening + ", ".join(parts) + closing
