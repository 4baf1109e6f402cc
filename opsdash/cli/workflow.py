"""``workflow``: the tasks that a task belongs to, as a tree."""

from __future__ import annotations

from typing import Any

import click

from opsdash.cli.output import print_line
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.progress import Bar
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.model import Workflow, WorkflowTask, to_plain
from opsdash.operation import command_line
from opsdash.operations.cancel_workflow import act_on
from opsdash.services.queues.found_text import looked_at_parts, missing
from opsdash.services.workflows.text import not_shown, state_of, summary


@click.command(cls=Command)
@click.argument("task_id", metavar="ID")
@json_option
def workflow(*, task_id: str, as_json: bool) -> None:
    """The workflow of a task: its root, and all that was sent by it and waits, runs, failed or was cleared.

    ID: The id of any of its tasks, or of a group.
    """
    with connected() as console, Bar() as bar:
        found = console.workflow(task_id, bar.show)
    if as_json:
        print_json(as_plain(found))
        return
    print_line(summary(found))
    for task in found.tasks:
        print_line(_row(task))
    if more := not_shown(found):
        print_line(f"  {more}")
    print_line(f"Looked at: {looked_at_parts(found.looked_at)}.")
    for problem in found.problems:
        warn(problem)
    if why := missing(found.looked_at):
        warn(f"not everything could be looked at: {why}")
    if act := act_on(found):
        print_line(f"{act.title}: {command_line(act)}")


def as_plain(found: Workflow) -> dict[str, Any]:
    """For programs: the workflow, and the operation that cancels it where something is left."""
    act = act_on(found)
    return {**to_plain(found), "act": None if act is None else {"operation": act.name, "params": act.params()}}


def _row(task: WorkflowTask) -> str:
    """One line: as deep as it hangs, a gap with a question mark."""
    what = f"? {task.id}" if task.gap else " ".join(part for part in (task.name or "(task)", task.id) if part)
    if task.part == "group":
        what = task.id
    arguments = f"  {task.arguments}" if task.arguments else ""
    return f"{'  ' * (task.depth + 1)}{what}: {state_of(task)}{arguments}"
