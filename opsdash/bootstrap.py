"""Puts a console together: makes the operations known, opsdash's own and those of other packages, and hands them over.

Nothing below knows an operation by name, so this is the one place that must be imported before any is looked for.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import opsdash.operations  # noqa: F401 - makes them known
from opsdash.operation import registry

if TYPE_CHECKING:
    from opsdash.config.settings import Settings
    from opsdash.services.console import Console

if find_spec("sqlalchemy") is None:  # a worker's install: the error comes with the name, not with the first call
    raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")


def assemble(settings: Settings) -> Console:
    """A console with every operation. Opens no connection yet.

    Raises:
        Invalid: A setting is wrong.
    """
    from opsdash.services.console import Console  # takes some tenths of a second: --help does without

    return Console(settings, operations=registry())


def connect(**overrides: Any) -> Console:
    """A console from the environment; keyword arguments (the fields of `Settings`) win over it.

    Opens no connection yet: an outage shows in what is called, not here.

    Raises:
        Invalid: A setting is wrong.
    """
    from opsdash.config.settings import Settings

    return assemble(Settings.from_env(**overrides))
