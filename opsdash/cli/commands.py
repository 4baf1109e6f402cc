"""Where each command is: its module is imported when the command is first asked for."""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from opsdash.cli.help import HELP
from opsdash.cli.plain import warn

if TYPE_CHECKING:
    import click

_MODULES = {
    "administration": "demo serve db",
    "audit": "audit",
    "concurrency_limits": "concurrency-limits",
    "doctor": "doctor",
    "failed": "failed",
    "holds": "holds",
    "messages": "approvals peek trash",
    "notify": "notify",
    "peers": "peers",
    "rate_limits": "rate-limits",
    "reads": "queues status workers",
    "run": "run",
    "schedules": "schedules",
    "tasks": "find-task tasks",
    "tenants": "tenants",
    "user": "user",
    "workflow": "workflow",
}
_MODULE_OF = {name: f"opsdash.cli.{module}" for module, names in _MODULES.items() for name in names.split()}
"""Command → its module, which has it under its name with underscores. All others are operations."""
READS = _MODULE_OF.keys() - {"demo", "serve", "db", "user", "doctor", "notify", "peers", "run"}
"""Those that show what there is: without Redis there is nothing to show."""


@contextmanager
def importing() -> Iterator[None]:
    """Around imports: they make some 100,000 objects that stay, among which Python would look for garbage in vain.

    Measured: a fifth of the processor time of ``opsdash status``.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.freeze()  # else the first collection would look at them all
            gc.enable()


@contextmanager
def _complaining() -> Iterator[None]:
    """Around what may load operations of other packages: of those that are broken a command says so, and goes on."""
    from opsdash.operations import plugins

    handler = logging.StreamHandler()
    plugins.log.addHandler(handler)
    try:
        yield
    finally:
        plugins.log.removeHandler(handler)


def names() -> list[str]:
    """Every command, sorted; those of other packages make their modules be imported."""
    from opsdash import installed

    if not installed.operations():
        return sorted({*HELP, *_MODULE_OF})
    import opsdash.operations  # noqa: F401 - makes them known
    from opsdash.operation import registry

    with _complaining():
        hyphened = {name.replace("_", "-") for name in registry()}
    for taken in sorted(hyphened & _MODULE_OF.keys()):  # another package's operation never replaces a command of ours
        warn(f"the operation {taken} has the name of a command: the command is kept")
    return sorted(hyphened | _MODULE_OF.keys())


@functools.cache
def load(name: str) -> click.Command | None:
    """The command of this name; None: there is none."""
    with importing():
        if name in _MODULE_OF:
            found: click.Command = getattr(import_module(_MODULE_OF[name]), name.replace("-", "_"))
            return found
        import opsdash.operations  # noqa: F401 - makes them known
        from opsdash.operation import registry

        with _complaining():
            operation = registry().get(name.replace("-", "_"))
        if operation is None or "_" in name:
            return None
        from opsdash.cli.operations import operation_command

        return operation_command(operation)
