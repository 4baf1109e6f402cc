"""Values that many pages show: made once per reading, compared by identity, and written as JSON once for all.

Param compares old and new values in depth, for each watcher. Of 500 rows that is 50 ms a page; identity is free.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import param
from param.parameterized import Comparator, instance_descriptor

Row = dict[str, Any]
_counter = itertools.count(1)


class Rows(list[Row]):
    """Rows of a table, each with a ``key``; not to be changed once they are shown.

    Two of them are the same only if they are one object. What leads from one to the next is worked out once, however
    many pages show it.

    Attributes:
        version: Tells one from another in the browser.

    Raises:
        TypeError: A row has no ``key``, or one that is not text.
    """

    __slots__ = ("_leads", "_text", "version")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        super().__init__(rows)
        for row in self:
            if not isinstance(row.get("key"), str):
                raise TypeError(f"each row needs a text as its key, not {row.get('key')!r}")
        self.version = next(_counter)
        self._text: str | None = None
        self._leads: tuple[int, str] | None = None  # by the version before: the rows themselves would keep all before

    def text(self) -> str:
        """All of it, as JSON."""
        if self._text is None:
            self._text = as_json({"version": self.version, "rows": list(self)})
        return self._text

    def change(self, before: Rows) -> str:
        """What leads here from ``before``, as JSON."""
        if self._leads is None or self._leads[0] != before.version:
            fields = {"from": before.version, "version": self.version, **changes(before, self)}
            self._leads = (before.version, as_json(fields))
        return self._leads[1]


class Figures(dict[str, Any]):
    """Figures, or lines of them, by name; not to be changed once they are shown. Two are the same if they are one."""

    __slots__ = ("_text",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._text: str | None = None

    def text(self) -> str:
        """All of it, as JSON."""
        if self._text is None:
            self._text = as_json(dict(self))
        return self._text


Comparator.equalities[Rows] = operator.is_
Comparator.equalities[Figures] = operator.is_


class SharedRows(param.List):  # type: ignore[type-arg]
    """A parameter of rows: a plain list becomes ``Rows``."""

    @instance_descriptor  # type: ignore[untyped-decorator]
    def __set__(self, obj: Any, val: Any) -> None:
        super().__set__(obj, val if not isinstance(val, list) or isinstance(val, Rows) else Rows(val))


class SharedFigures(param.Dict):  # type: ignore[type-arg]
    """A parameter of figures: a plain dict becomes ``Figures``."""

    @instance_descriptor  # type: ignore[untyped-decorator]
    def __set__(self, obj: Any, val: Any) -> None:
        super().__set__(obj, val if not isinstance(val, dict) or isinstance(val, Figures) else Figures(val))


def changes(old: Iterable[Row], new: Iterable[Row]) -> dict[str, Any]:
    """What turns one into the other: changed fields, and the order of all keys where that has changed.

    A field that has gone is None; a key that is not in the order has gone. Cost: one look at each field of rows
    that are not the same objects.
    """
    had, has = {row["key"]: row for row in old}, {row["key"]: row for row in new}
    changed: list[Row] = []
    for key, row in has.items():
        before = had.get(key)
        if before is None:
            changed.append(row)
        elif before is not row:
            fields = {name: row.get(name) for name in row.keys() | before.keys() if row.get(name) != before.get(name)}
            if fields:
                changed.append({"key": key, **fields})
    return {"changed": changed, "order": None if list(had) == list(has) else list(has)}


def as_json(value: Any) -> str:
    """JSON that every browser reads: no NaN, no lone surrogate; what has no JSON is written as text."""
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (UnicodeError, TypeError, ValueError, OverflowError):
        return json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
