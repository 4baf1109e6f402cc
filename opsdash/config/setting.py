"""How one setting is declared: a field of a frozen dataclass with its parser and its sentence of documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


def setting(
    *,
    doc: str,
    parse: Callable[[str], Any],
    default: Any = dataclasses.MISSING,
    factory: Any = None,
    secret: bool = False,
) -> Any:
    """A field that is read from the variable of its name.

    Args:
        doc: What the reference says of it.
        parse: From the variable's text to the value; raises ValueError with what is expected.
        secret: Left out of the settings' own text.
    """
    metadata = {"doc": doc, "parse": parse}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata, repr=not secret)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)
