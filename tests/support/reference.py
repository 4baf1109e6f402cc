"""The page of Redis keys and tables, read off the code.

``PYTHONPATH=tests python -m support.reference`` writes them.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import sqlalchemy as sa

from opsdash.keys import Keys
from opsdash.services import tables

DOCS = Path(__file__).parents[2] / "docs"
MADE = "<!-- Written by tests/support/reference.py from the code; a test holds it to that. -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _table(*columns: str) -> list[str]:
    return ["", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def storage() -> str:
    """Every Redis key and every column."""
    lines = ["# Keys and tables", "", MADE, "", "## In Redis", ""]
    lines += [
        "The broker's `global_keyprefix`, if there is one, stands before each name. Without `:{queue}` the first",
        "pauses everything. Nothing scans the keyspace.",
    ]
    lines += _table("key", "what it is")
    keys = Keys()
    for name, member in vars(Keys).items():
        if name.startswith("_") or not (isinstance(member, property) or inspect.isfunction(member)):
            continue
        key = getattr(keys, name)
        if not isinstance(member, property):
            key = key(*(f"{{{parameter}}}" for parameter in list(inspect.signature(member).parameters)[1:]))
        lines.append(f"| `{key}` | {_cell((member.__doc__ or '').partition(chr(10) * 2)[0])} |")
    lines += [
        "",
        "## In the database",
        "",
        "`opsdash db upgrade` makes them. `tenant_config` may be your application's own.",
    ]
    for table in tables.metadata.sorted_tables:
        lines += ["", f"### `{table.name}`", *_table("column", "type", "null")]
        lines += [
            f"| `{column.name}` | {_type(column)} | {'yes' if column.nullable else 'no'} |" for column in table.columns
        ]
    return "\n".join(lines) + "\n"


def _type(column: sa.Column[object]) -> str:
    kind = "time, UTC" if isinstance(column.type, tables.UtcDateTime) else type(column.type).__name__.lower()
    return f"{kind}, primary key" if column.primary_key else f"{kind}, unique" if column.unique else kind


PAGES = {"storage.md": storage}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write())
