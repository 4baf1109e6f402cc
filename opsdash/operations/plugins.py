"""Finding operations: every module of this package, and the entry point group ``opsdash.operations`` of others."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points

log = logging.getLogger(__name__)

GROUP = "opsdash.operations"


def load(folders: Iterable[str]) -> None:
    """Imports them all: a class that derives from ``Operation`` registers itself.

    One of another package that can't be loaded is a line in the log, and the console goes on without it.

    Args:
        folders: Where this package's own modules lie.
    """
    for module in pkgutil.iter_modules(folders):
        import_module(f"opsdash.operations.{module.name}")
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # somebody else's module may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.error("the operation %s (%s) can't be loaded and is left out: %s", entry.name, entry.value, reason)
            log.debug("because of", exc_info=True)
