"""What is installed: a worker's part is in every install, all else comes with the extra ``console``."""

from __future__ import annotations

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


def missing(error: ModuleNotFoundError) -> str:
    """One line that says how to install the console, where that is what an import failed for; else empty."""
    module = (error.name or "").partition(".")[0]
    if module not in CONSOLE:
        return ""
    return f'this needs the console, and {module} is not installed: pip install "opsdash[console]"'
