"""The pages of the reference that are read off the code.

``PYTHONPATH=tests python -m support.reference`` writes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
import sqlalchemy as sa

from opsdash.cli import cli
from opsdash.keys import Keys
from opsdash.services import tables

DOCS = Path(__file__).parents[2] / "docs"
MADE = "<!-- Written by tests/support/reference.py from the code; a test holds it to that. -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _table(*columns: str) -> list[str]:
    return ["", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def _commands(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, sub in sorted(command.commands.items()):
            yield from _commands(sub, f"{words} {name}")
        if not command.invoke_without_command:
            return
    if not command.hidden:
        yield words, command


def _options(command: click.Command) -> Iterator[str]:
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        if option.name != "help":
            choices = " or ".join(option.type.choices) if isinstance(option.type, click.Choice) else ""
            yield f"| {names} | {_cell(option.help or choices)} |"


def command_line() -> str:
    """Every command with its options."""
    lines = ["# Command line", "", MADE, ""]
    lines += [
        "Each takes `--help`. Settings come from the environment: [Settings](settings.md). Exit codes: 0 done · 1 bug ·"
    ]
    lines += [
        "2 usage or configuration · 3 refused, nothing changed · 4 unavailable, nothing changed · 5 uncertain, look."
    ]
    for words, command in _commands(cli, "opsdash"):
        arguments = [f" {one.name.upper()}" for one in command.params if isinstance(one, click.Argument) and one.name]
        lines += ["", f"## `{words}{''.join(arguments)}`", "", _cell((command.help or "").partition("\n\n")[0])]
        if options := list(_options(command)):
            lines += [*_table("option", "meaning"), *options]
    return "\n".join(lines) + "\n"


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


PAGES = {"cli.md": command_line, "storage.md": storage}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write())
