"""What an audit entry holds, as one line per fact: for the row that is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from opsdash.model import AuditEntry, to_plain
from opsdash.views.rows import Row

MOST = 5
"""Items of a list that are shown; the rest is counted. The button copies all of them."""
MOST_CHARS = 500
_COPY = [{"name": "copy", "label": "Copy", "help": "Copy the whole value", "copies": "whole", "usual": True}]


def facts(entry: AuditEntry) -> list[Row]:
    """One row per fact: what it is, the value in words, and the whole of it to be copied."""
    plain = to_plain(entry)
    told = [("Id", plain["id"]), ("Request id", plain["request_id"]), ("Began", plain["timestamp"])]
    told += [("Ended", plain["finished_at"]), ("Number in the hash chain", entry.seq)]
    details = list(_flattened(plain["details"]))
    return [
        _row(number, name, value) for number, (name, value) in enumerate([*told, *details]) if value not in (None, "")
    ]


def _flattened(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        called = f"{above}{str(name).replace('_', ' ')}"
        if isinstance(inner, Mapping) and 0 < len(inner) <= MOST:
            yield from _flattened(inner, f"{called}: ")
        else:
            yield called, inner


def _row(number: int, name: str, value: Any) -> Row:
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    called = name[:1].upper() + name[1:]
    return {"key": str(number), "name": called, "value": short(value), "whole": whole, "called": called, "acts": _COPY}


def short(value: Any) -> str:
    """A value in words that fit a cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        said = [f"{name}: {_scalar(inner)}" for name, inner in list(value.items())[:MOST]]
        return _with_rest(said, len(value))
    if isinstance(value, list):
        return _with_rest([_scalar(inner) for inner in value[:MOST]], len(value))
    return _scalar(value)


def _with_rest(said: list[str], total: int) -> str:
    more = f" and {total - len(said):,} more" if total > len(said) else ""
    return f"{', '.join(said)}{more}" if said else "none"


def _scalar(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"
