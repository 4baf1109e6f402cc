"""Frozen dataclasses that are made quickly: most of the time of a short command is its imports.

``@dataclass(frozen=True, slots=True)`` has Python before 3.13 compile six functions for each class, some 0.7 ms, and a
command imports more than a hundred of them. Here it is one: what else differs between two classes is a list of names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")
_set = object.__setattr__


@overload
def frozen(cls: type[T], /) -> type[T]: ...


@overload
def frozen(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[Any] | None = None, /, *, kw_only: bool = False) -> Any:
    """As ``@dataclass(frozen=True, slots=True)``; what the class itself defines stays. There is no ``InitVar``."""

    def make(given: type[Any]) -> type[Any]:
        own = set(vars(given))
        made = dataclass(given, init=False, repr=False, eq=False, slots=True, kw_only=kw_only)
        for name, method in _methods(made).items():
            if name not in own:
                setattr(made, name, method)
        return made

    return make if cls is None else make(cls)


def _methods(cls: type[Any]) -> dict[str, Callable[..., Any]]:
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields]
    shown = [field.name for field in fields if field.repr]
    compared = _reader([field.name for field in fields if field.compare])
    hashed = _reader([field.name for field in fields if (field.compare if field.hash is None else field.hash)])

    def __repr__(self: Any) -> str:  # noqa: N807 - it becomes that method, as those below
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(hashed(self))

    def __getstate__(self: Any) -> list[Any]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: list[Any]) -> None:  # noqa: N807
        for name, kept in zip(names, state, strict=True):
            _set(self, name, kept)

    made = (_init(cls, fields), __repr__, __eq__, __hash__, __getstate__, __setstate__, _setattr, _delattr)
    return {method.__name__: method for method in made}


def _reader(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _value: ()


def _setattr(_self: Any, name: str, _value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_setattr.__name__, _delattr.__name__ = "__setattr__", "__delattr__"


def _init(cls: type[Any], fields: tuple[Field[Any], ...]) -> Callable[..., None]:
    """The one function that is compiled: with the class's own parameters, so that a wrong call says what is wrong."""
    known: dict[str, Any] = {"_set": _set, "_missing": MISSING}
    parameters: dict[bool, list[str]] = {False: [], True: []}  # by ``kw_only``
    lines = ["pass"]
    for field in fields:
        name, given = field.name, field.name
        default, factory = f"_default_{name}", f"_factory_{name}"
        if field.default is not MISSING:
            known[default] = field.default
            given, parameter = (name if field.init else default), f"{name}={default}"
        elif field.default_factory is not MISSING:
            known[factory] = field.default_factory
            given = f"{factory}() if {name} is _missing else {name}" if field.init else f"{factory}()"
            parameter = f"{name}=_missing"
        elif field.init:
            parameter = name
        else:
            continue  # the class sets it itself
        lines.append(f"_set(self, {name!r}, {given})")
        if field.init:
            parameters[bool(field.kw_only)].append(parameter)
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    listed = ", ".join(["self", *parameters[False], *(["*", *parameters[True]] if parameters[True] else [])])
    body = "\n ".join(lines)
    exec(f"def __init__({listed}):\n {body}", known)  # noqa: S102 - names of a class's own fields, as dataclasses does
    method: Callable[..., None] = known["__init__"]
    method.__qualname__ = f"{cls.__qualname__}.__init__"
    return method
