"""What every command says something with: JSON for programs, one line for people. Tables are in ``output``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

CHANGES = "opsdash.changes"
"""In the command's ``meta``: it was to change something, so an error says whether anything was changed."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def changing() -> None:
    """Says of the command that runs that it is to change something."""
    click.get_current_context().meta[CHANGES] = True


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    from opsdash.model import to_plain

    takes_all = "utf" in (sys.stdout.encoding or "").lower()
    click.echo(json.dumps(to_plain(value), indent=2, ensure_ascii=not takes_all))


def warn(text: str) -> None:
    """One line on stderr, whatever is in it."""
    click.echo(f"opsdash: {clean(text)}", err=True)


def clean(text: str) -> str:
    """Text from outside for a terminal: on one line, and no escape sequence in it drives anything."""
    return "".join(char if char.isprintable() or char == " " else repr(char)[1:-1] for char in text)
