"""Task arguments as an operator may see them: bounded whatever they hold, and without what looks secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from opsdash.redaction import HIDDEN, ITSELF, hidden_items, hidden_keys, is_secret_name, is_secret_text, name_of

LONG = 60
"""Characters of one argument that are shown."""
MOST = 300
"""Characters of all arguments together."""
DEEP, MANY = 4, 50
"""Levels, and items of one level, that are shown."""
_NOTHING = r"(?!)"
_WORD = re.compile(r"[\w.-]{1,32}")
"""An argument's name that is shown although it looks secret: ``password`` and ``X-Auth-Token`` are, a token is not."""


def shown_body(body: Any, redact: str = "") -> str:
    """The arguments in a task message's body, which was read as JSON; the redacting is ``shown_arguments``'."""
    if isinstance(body, dict):  # Celery's first protocol
        return shown_arguments(body.get("args"), body.get("kwargs"), redact)
    if isinstance(body, list) and len(body) >= 2:
        return shown_arguments(body[0], body[1], redact)
    return "not shown (no arguments of Celery's)"


def shown_arguments(args: Any, kwargs: Any, redact: str = "") -> str:
    """Arguments as one text, ``MOST`` characters and an ellipsis at most.

    Args:
        args: Values of JSON's kinds, like ``kwargs``; anything may be there.
        redact: Regular expression: an argument whose name or text it finds is hidden as well; empty: none.
    """
    hide = re.compile(redact or _NOTHING)
    shown = _items(args if isinstance(args, list) else [args] if args else [], hide, 0)
    if isinstance(kwargs, dict):
        shown = [*shown, *(f"{_key(name, hide)}={text}" for name, text in _named(kwargs, hide, 0))]
    text = ", ".join(shown)
    return text if len(text) <= MOST else f"{text[:MOST]}…"


def shortened(text: str, most: int = LONG) -> str:
    """A text, or its beginning and how long it is."""
    return text if len(text) <= most else f"{text[: most // 3]}… ({len(text):,} characters)"


def _items(values: list[Any], redact: re.Pattern[str], depth: int) -> list[str]:
    hidden = hidden_items(values)
    if len(values) == 2 and isinstance(values[0], str) and redact.search(values[0]):
        hidden.add(1)
    shown = [
        HIDDEN if at in hidden or at + 1 in hidden else _shown(value, redact, depth)
        for at, value in enumerate(values[:MANY])
    ]
    return shown + ["…"] * (len(values) > MANY)


def _named(values: Mapping[str, Any], redact: re.Pattern[str], depth: int) -> Iterator[tuple[str, str]]:
    hidden = hidden_keys(values)
    names_secret = any(
        isinstance(value, str) and redact.search(value) for key, value in values.items() if key != "value"
    )
    for name, value in islice(values.items(), MANY):
        hide = name in hidden or redact.search(name) or (names_secret and name == "value")
        yield name, HIDDEN if hide else _shown(value, redact, depth)
    if len(values) > MANY:
        yield "…", "…"


def _key(name: str, redact: re.Pattern[str]) -> str:
    plain = _WORD.fullmatch(name) and not name_of(name) & ITSELF
    return shortened(name) if plain or (not _is_secret(name, redact) and not is_secret_name(name)) else HIDDEN


def _is_secret(text: str, redact: re.Pattern[str]) -> bool:
    return is_secret_text(text) or redact.search(text) is not None


def _shown(value: Any, redact: re.Pattern[str], depth: int) -> str:
    if isinstance(value, (dict, list)) and depth >= DEEP:
        return "…"
    if isinstance(value, dict):
        return _joined("{", (f"{_key(k, redact)}: {text}" for k, text in _named(value, redact, depth + 1)), "}")
    if isinstance(value, list):
        return _joined("[", _items(value, redact, depth + 1), "]")
    if not isinstance(value, str):
        return HIDDEN if redact.search(str(value)) else shortened(json.dumps(value))
    return HIDDEN if _is_secret(value, redact) else json.dumps(shortened(value), ensure_ascii=False)


def _joined(opening: str, parts: Iterable[str], closing: str) -> str:
    return opening + ", ".join(parts) + closing
