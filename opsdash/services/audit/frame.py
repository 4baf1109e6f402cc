"""The audit log as a pandas frame, built column by column while the rows come: no entry becomes an object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import sqlalchemy as sa

from opsdash.errors import Invalid
from opsdash.model import Status
from opsdash.services import dataframes
from opsdash.services.audit import query
from opsdash.services.audit.query import Filter
from opsdash.services.dataframes import TIME
from opsdash.text import as_text, safe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TYPES = {
    "timestamp": TIME,
    "finished_at": TIME,
    "user": "category",
    "operation": "category",
    "status": tuple(status.value for status in Status),
    "message": "string",
    "surface": "category",
    "took_s": "Float64",
    "affected": "Int64",
    "details": "string",
    "id": "string",
    "request_id": "string",
    "seq": "Int64",
    "broker": "category",
}
Time = str | date | None
"""What is taken for a time; a datetime is a date too, and pandas' Timestamp is a datetime."""
NO_OBJECT = "The details of this entry are not a JSON object."
SHARED = 10_000
"""So many different texts of a column are kept once, however often each comes."""


def narrowed(chosen: Filter, since: Time, until: Time, words: Mapping[str, str]) -> Filter:
    """The filter with what is given in its place.

    Raises:
        Invalid: A time is none, or there is no such status.
    """
    times = {"since": dataframes.moment(since, "since"), "until": dataframes.moment(until, "until")}
    given: dict[str, Any] = {name: value for name, value in {**times, **words}.items() if value}
    found = replace(chosen, **given)
    if found.status and found.status not in tuple(Status):
        raise Invalid(f"expected one of {', '.join(Status)}, got {found.status[:100]!r}", field="status")
    return found


def of_log(engine: sa.Engine, chosen: Filter, *, details: bool, limit: int | None) -> tuple[pd.DataFrame, str]:
    """One row per entry that is chosen, newest first, and what to say if there are more; see `AuditLog.to_frame`.

    Raises:
        Invalid: The limit is none.
    """
    import pandas as pd

    if limit is not None and limit < 1:
        raise Invalid(f"expected 1 or more, got {limit}", field="limit")
    columns = {name: _column(kind) for name, kind in TYPES.items() if details or name != "details"}
    for rows in query.rows(engine, chosen, limit=limit):
        for name, values in _read(rows, details=details).items():
            columns[name].add(values)
    found = pd.DataFrame({name: columns.pop(name).end() for name in tuple(columns)}, copy=False)
    return found, "" if limit is None or len(found) < limit else _left_out(engine, chosen, limit)


def _left_out(engine: sa.Engine, chosen: Filter, limit: int) -> str:
    total = query.total(engine, chosen)
    if total is not None and total <= limit:
        return ""
    there = "maybe more" if total is None else f"{total:,} in all"  # of a search for a text, nobody has counted
    return f"The frame has the newest {limit:,} entries; there are {there}. Without limit= it has all of them."


def _read(rows: Sequence[sa.Row[Any]], *, details: bool) -> dict[str, Sequence[Any]]:
    began, finished, user, operation, status, texts, number, request, seq = zip(*rows, strict=True)
    facts = [_facts(text) for text in texts]
    found: dict[str, Sequence[Any]] = {
        "timestamp": began,
        "finished_at": finished,
        "user": user,
        "operation": operation,
        "status": status,
        "message": [_text(one.message) for one in facts],
        "surface": [_text(one.surface) for one in facts],
        "took_s": [_figure(one.took_s) for one in facts],
        "affected": [_count(one.affected) for one in facts],
        "id": [_uuid(one) for one in number],
        "request_id": [_uuid(one) for one in request],
        "seq": seq,
        "broker": [one.broker if isinstance(one.broker, str) else None for one in facts],
    }
    if details:
        found["details"] = [_written(text) for text in texts]
    return found


class _Facts(msgspec.Struct, gc=False):
    """What columns show of an entry's details; the rest is passed over, not read."""

    message: Any = None
    surface: Any = None
    took_s: Any = None
    affected: Any = None
    broker: Any = None


_decoded = msgspec.json.Decoder(_Facts).decode


def _facts(text: str) -> _Facts:
    try:
        return _decoded(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):  # it is stricter than what has written them
        found = _object(text)
        return _Facts(**{name: found.get(name) for name in _Facts.__struct_fields__})


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"message": NO_OBJECT}


def _written(text: str) -> str:
    """Without escapes, as people read it: a search in the column finds what it says."""
    if text.startswith("{") and "\\u" not in text:
        return text
    return json.dumps(safe(_object(text)), ensure_ascii=False)


def _uuid(text: str) -> str:
    """SQLite has them as 32 digits."""
    return text if len(text) != 32 else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) and value.isprintable() else as_text(str(value))


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _column(kind: Any) -> _Column:
    if kind == "category" or isinstance(kind, tuple):
        return _Categories(kind if isinstance(kind, tuple) else None)
    return _Texts() if kind == "string" else _Figures(kind)


class _Column(Protocol):
    """A column while its values come."""

    def add(self, values: Sequence[Any]) -> None: ...

    def end(self) -> pd.Series: ...


class _Figures:
    """Times and numbers: arrays of their dtype from the start."""

    def __init__(self, kind: str) -> None:
        self._parts = [dataframes.series([], kind)]
        self._kind = kind

    def add(self, values: Sequence[Any]) -> None:
        self._parts.append(dataframes.series(list(values), self._kind))

    def end(self) -> pd.Series:
        import pandas as pd

        return pd.concat(self._parts, ignore_index=True)


class _Texts:
    """Texts of which most are their own."""

    def __init__(self) -> None:
        self._values: list[str | None] = []
        self._shared: dict[str, str] = {}

    def add(self, values: Sequence[str | None]) -> None:
        if len(self._shared) > SHARED:  # they don't repeat, or no more of them can be kept
            self._shared.clear()
        self._values += [value and self._shared.setdefault(value, value) for value in values]

    def end(self) -> pd.Series:
        self._shared.clear()
        return dataframes.series(self._values, "string")


class _Categories:
    """Texts that repeat: each once, and a number per row."""

    def __init__(self, fixed: tuple[str, ...] | None) -> None:
        self._names = {name: number for number, name in enumerate(fixed or ())}
        self._numbers: dict[str | None, int] = {None: -1}  # of a text as it is stored
        self._numbers.update(self._names)
        self._fixed = fixed is not None
        self._parts: list[np.ndarray] = []

    def add(self, values: Sequence[str | None]) -> None:
        import numpy as np

        numbers = self._numbers
        if not self._fixed:
            for value in values:
                if value is not None and value not in numbers:
                    numbers[value] = self._names.setdefault(as_text(value), len(self._names))
        self._parts.append(np.fromiter((numbers.get(value, -1) for value in values), np.int32))

    def end(self) -> pd.Series:
        import numpy as np
        import pandas as pd

        codes = np.concatenate([np.empty(0, np.int32), *self._parts])
        names = pd.Index(list(self._names), dtype="str")
        return pd.Series(pd.Categorical.from_codes(codes, categories=names))
