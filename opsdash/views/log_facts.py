"""What an audit entry holds, as one line per fact: for the row that is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from opsdash.model import AuditEntry, to_plain
from opsdash.operation import parameters, registry
from opsdash.views.rows import Row

MOST = 5
"""Items of a list that are shown; the rest is counted. The button copies all of them."""
MOST_CHARS = 500
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_COPY = [{"name": "copy", "label": "Copy", "help": "Copy the whole value", "copies": "whole", "usual": True}]


def facts(entry: AuditEntry) -> list[Row]:
    """One row per fact: what it is, the value in words, and the whole of it to be copied."""
    plain = to_plain(entry)
    told = [("Id", plain["id"]), ("Request id", plain["request_id"]), ("Began", plain["timestamp"])]
    told += [("Ended", plain["finished_at"]), ("Number in the hash chain", entry.seq)]
    details = list(_flattened(plain["details"], _asked(entry.operation)))
    return [
        _row(number, name, value) for number, (name, value) in enumerate([*told, *details]) if value not in (None, "")
    ]


def _asked(operation: object) -> dict[str, str]:
    """Parameter of an operation → what its dialog calls it; a yes-or-no one is asked there by a whole sentence."""
    kind = registry().get(operation) if isinstance(operation, str) else None
    asked = parameters(kind) if kind is not None else ()
    labels = {field.name: field.metadata["label"] for field in asked if not isinstance(field.default, bool)}
    return {
        name: f"{label}, s" if label and name.endswith("_s") and name != "per_s" else label
        for name, label in labels.items()
    }


def _flattened(value: Mapping[str, Any], asked: Mapping[str, str], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if name == "params" and isinstance(inner, Mapping):
            wanted = _asked(value.get("operation")) if above else asked  # of the undo: another operation's
            for parameter, given in inner.items():
                yield above + (wanted.get(parameter) or _words(parameter)), given
            continue
        called = f"{above}{_words(name)}"
        if isinstance(inner, Mapping) and 0 < len(inner) <= MOST:
            yield from _flattened(inner, asked, f"{called}: ")
        else:
            yield called, inner


def _words(name: object) -> str:
    """A field's name as people write it; ``s`` at the end of ours means seconds."""
    return re.sub(" s$", ", s", str(name).replace("_", " "))


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
    if _TIME.fullmatch(text):
        return _moment(text)
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"


def _moment(text: str) -> str:
    """A time as the page shows all others; the copy has its microseconds."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):  # of a shape that looks like one: 2026-13-45T…
        return text
