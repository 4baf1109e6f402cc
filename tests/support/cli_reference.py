"""What is generated of the command line: half of docs/cli.md, and opsdash/cli/help.py, the list of `opsdash --help`.

``python tests/support/cli_reference.py`` writes both; tests compare.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click

import opsdash.cli
from opsdash import model
from opsdash.cli import MOST_HELP, cli, commands
from opsdash.model.worker import Connection
from opsdash.operation import registry
from opsdash.services.audit.verify import Verification
from opsdash.services.broker.messages import Message
from opsdash.services.doctor import Finding
from opsdash.services.notify.trial import Tried

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
HELP = Path(opsdash.cli.__file__).with_name("help.py")
START = "<!-- Written by tests/support/cli_reference.py: change the commands, not this. -->"
SHAPES: tuple[type, ...] = (
    model.Snapshot, model.PauseInfo, model.QueueStats, model.QueuePace, model.Wait,
    model.ObjectiveStatus, model.WorkerStats, model.RunningTask, model.OtherWorker,
    model.Disagreement, model.TrashEntry, model.Approval, model.TenantDrift, model.UnmanagedLook, Connection,
    model.AuditEntry, Message, Verification, Finding, model.Preview, model.Effect, model.Progress,
    model.NotificationFigures, Tried, model.TenantsRead, model.TenantTasks, model.LookedThrough, model.Hold,
)  # fmt: skip
"""Records that ``--json`` prints, whole or in parts."""


def reference() -> str:
    """The text below the marker."""
    text = "\n".join([START, "", "## Commands", *_commands(cli, "opsdash"), "## Records", *_records()])
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def of(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group by name, sorted."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield name, command


def help_module() -> str:
    """The text of opsdash/cli/help.py."""
    names = sorted({*cli.list_commands(click.Context(cli)), *(name.replace("_", "-") for name in registry())})
    found = {name: commands.load(name) for name in names}
    texts = {name: command.get_short_help_str(MOST_HELP) for name, command in found.items() if command}
    turn_on = {name: text for name, command in found.items() if (text := getattr(command, "turn_on", ""))}
    return f'''"""What `opsdash --help` says of each command, so that it need not import them.

Written by tests/support/cli_reference.py: change the commands, not this.
"""
# ruff: noqa: E501

HELP = {_table(texts)}
TURN_ON = {_table(turn_on)}
"""Where not everybody uses what a command is about: how that is turned on."""
'''


def _table(texts: dict[str, str]) -> str:
    return "\n".join(["{", *(f"    {json.dumps(name)}: {json.dumps(text)}," for name, text in texts.items()), "}"])


def _commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in of(group):
        yield from _command(command, f"{path} {name}")
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, max_content_width=10_000, terminal_width=10_000)
    yield f"\n### {path}\n"
    yield f"`{' '.join([path, *command.collect_usage_pieces(context)])}`\n"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")) + "\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    if records:
        yield "| option | meaning |\n|---|---|"
        yield from (f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in records)
        yield ""


def _records() -> Iterator[str]:
    for kind in SHAPES:
        keys = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        summary = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
        yield f"\n**{kind.__name__}**: {summary}\n{keys}\n"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    HELP.write_text(help_module())
    DOCS.write_text(DOCS.read_text().partition(START)[0] + reference())
