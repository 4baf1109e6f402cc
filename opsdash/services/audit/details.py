"""Details of an entry as they are kept: text that databases and screens take, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from opsdash.model import to_plain
from opsdash.redaction import HIDDEN, cleaned, masked
from opsdash.text import safe

_part_of: ContextVar[Mapping[str, Any]] = ContextVar("opsdash_part_of", default=MappingProxyType({}))


@contextmanager
def part_of(**facts: str) -> Iterator[None]:
    """While this lasts, the entries that this thread begins have these facts: what they are a part of."""
    token = _part_of.set(facts)
    try:
        yield
    finally:
        _part_of.reset(token)


def begun_in() -> Mapping[str, Any]:
    """The facts of ``part_of``; none outside of it."""
    return _part_of.get()


def public_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the trail and the page show them: what looks like a secret is hidden."""
    return safe(cleaned(dict(to_plain(params)), lambda _secret: HIDDEN))  # type: ignore[no-any-return] # what JSON can say


def stored(details: Mapping[str, Any]) -> dict[str, Any]:
    """Details as they are kept: text that databases and screens take, without secrets.

    Names are looked at in the parameters alone: elsewhere they are data, such as the names of tasks with their number.
    """
    plain = dict(safe(to_plain(details)))
    params = plain.pop("params", None)
    kept: dict[str, Any] = {name: _masked(value) for name, value in plain.items()}
    return ({"params": public_params(params)} if isinstance(params, Mapping) else {}) | kept


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {masked(name): _masked(inner) for name, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value
