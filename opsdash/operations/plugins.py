"""Finding operations: every module of this package, and the entry point group ``opsdash.operations`` of others."""

from __future__ import annotations

import functools
import logging
import pkgutil
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from opsdash.operation import Operation, declared, retain

log = logging.getLogger(__name__)

SHARED = {"chosen_failures", "chosen_workers", "ends_after", "kept_pause", "one_worker", "plugins"}
"""Modules of this package that are no operations: what several of them share."""


class _Loaded:
    """Whether every operation is imported, ``everything``, or is just being, ``begun``."""

    lock = threading.RLock()
    begun = everything = False


@functools.cache
def own() -> tuple[str, ...]:
    """The names of opsdash's own operations, sorted. Imports none."""
    return tuple(one.name for one in pkgutil.iter_modules([str(Path(__file__).parent)]) if one.name not in SHARED)


def find(name: str | None = None) -> None:
    """Imports the operation of that name: a class that derives from ``Operation`` declares itself.

    All of them where no name is given, or where it is none of our own: only its declaration tells an operation's name.
    """
    if _Loaded.everything:
        return
    with _Loaded.lock:
        if name in own():
            import_module(f"opsdash.operations.{name}")
        elif not _Loaded.begun:
            _Loaded.begun = True
            _load()
            _Loaded.everything = True


def _load() -> None:
    """Imports them all.

    One of another package that can't be loaded is one line in the log, and the console goes on without it. A class that
    no entry point names is left out: its module may have broken off half-way.
    """
    from opsdash import installed  # most commands load none of other packages, and need not look for any

    for name in own():
        import_module(f"opsdash.operations.{name}")
    kept = [*own(), *sorted(declared() - set(own()))]
    for entry in installed.operations():
        try:
            kept.append(_operation(entry.value, entry.load()).name)
        except (Exception, SystemExit) as error:  # a foreign module may raise anything
            reason = "".join(char if char.isprintable() else " " for char in f"{type(error).__name__}: {error}")
            log.error("opsdash continues without the operation %s (%s): %s", entry.name, entry.value, reason)
            log.debug("because of", exc_info=True)
    retain(kept)


def _operation(where: str, found: Any) -> type[Operation]:
    if isinstance(found, type) and issubclass(found, Operation):
        return found
    raise TypeError(f"{where} is not a subclass of opsdash.operation.Operation")
