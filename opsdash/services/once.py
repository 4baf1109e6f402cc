"""Parts that are made when they are first used: a command imports and opens what it needs, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")

_MAKING = threading.RLock()
"""One for all: a part is made of others, and two threads must not each make their own."""


class Once(Generic[T]):
    """A method that is called once for its object; what it gives stays as the attribute. Safe from any thread."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, found: None, _owner: type) -> Self: ...

    @overload
    def __get__(self, found: object, _owner: type) -> T: ...

    def __get__(self, found: object | None, _owner: type) -> Self | T:
        if found is None:
            return self
        made: dict[str, Any] = vars(found)
        with _MAKING:
            if self._name not in made:  # another thread may have been faster
                made[self._name] = self._make(found)
            value: T = made[self._name]
        return value


def made(found: object, name: str) -> Any:
    """The part of this name, if it was made already; else None."""
    return vars(found).get(name)
