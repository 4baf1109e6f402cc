"""Finding operations: every module of this package, and the entry point group ``opsdash.operations`` of others."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from opsdash.operation import Operation, registry, retain

log = logging.getLogger(__name__)

GROUP = "opsdash.operations"


def load(folders: Iterable[str]) -> None:
    """Imports them all: a class that derives from ``Operation`` registers itself.

    One of another package that can't be loaded is one line in the log, and the console goes on without it. A class that
    no entry point names is left out: its module may have broken off half-way.

    Args:
        folders: Where this package's own modules lie.
    """
    for module in pkgutil.iter_modules(folders):
        import_module(f"opsdash.operations.{module.name}")
    kept = set(registry())
    for entry in entry_points(group=GROUP):
        try:
            kept.add(_operation(entry.value, entry.load()).name)
        except (Exception, SystemExit) as error:  # a foreign module may raise anything
            reason = "".join(char if char.isprintable() else " " for char in f"{type(error).__name__}: {error}")
            log.error("opsdash continues without the operation %s (%s): %s", entry.name, entry.value, reason)
            log.debug("because of", exc_info=True)
    retain(kept)


def _operation(where: str, found: Any) -> type[Operation]:
    if isinstance(found, type) and issubclass(found, Operation):
        return found
    raise TypeError(f"{where} is not a subclass of opsdash.operation.Operation")
