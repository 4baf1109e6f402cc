"""A workflow in words: the same on the command line and on the page."""

from __future__ import annotations

from collections.abc import Mapping

from opsdash.model import Workflow, WorkflowTask
from opsdash.text import count

PARTS = {"body": "the chord's body", "callback": "callback", "errback": "runs on an error", "next": "next of the chain"}
WORDS = {"active": "running", "not_sent": "not sent yet", "unknown": "finished or never seen"}


def summary(found: Workflow) -> str:
    """The answer in one sentence."""
    if not found.root:
        sure = "" if found.complete else ", but not everything could be looked at"
        return f"Nothing of a task or group with the whole id {found.id} was found{sure}."
    what = f"Group {found.root}" if found.group else f"Workflow of task {found.root}"
    return f"{what}: {count(found.total, 'task')}, {numbers(found.counts)}."


def numbers(counts: Mapping[str, int]) -> str:
    """``3 waiting, 1 running``."""
    told = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{number:,} {WORDS.get(state, state)}" for state, number in told if number)


def state_of(task: WorkflowTask) -> str:
    """One row's state, with where that is: ``waiting in emails``."""
    if task.part == "group":
        return f"group of {task.of_children:,}"
    text = {
        "active": f"running in {task.worker or 'an unknown worker'}",
        "reserved": f"fetched by {task.worker or 'an unknown worker'}, not started",
        "scheduled": f"scheduled: {task.worker or 'a worker'} has fetched it",
        "waiting": f"waiting in {task.queue}",
        "held": f"set aside from {task.queue} by an interrupted operation"
        if task.trash_id
        else f"held, from {task.queue}",
        "cleared": f"cleared from {task.queue}, in trash {task.trash_id}",
        "failed": f"failed with {task.error}" if task.error else "failed",
        "not_sent": "not sent yet",
        "unknown": "finished or never seen",
        "finished": "finished",
    }[task.state]
    if task.eta is not None and task.state in ("scheduled", "waiting", "reserved"):
        text += f", not before {task.eta:%Y-%m-%d %H:%M:%S} UTC"
    if task.since is not None and task.state == "active":
        text += f", since {task.since:%Y-%m-%d %H:%M:%S} UTC"
    more = [PARTS[task.part]] if task.part in PARTS else []
    if task.chord:
        more.append("member of a chord")
    if task.of_children:
        more.append("1 child" if task.of_children == 1 else f"{task.of_children:,} children")
    return f"{text} ({', '.join(more)})" if more else text


def not_shown(found: Workflow) -> str:
    """How many rows are left out; empty: none."""
    if not found.more:
        return ""
    return f"{count(found.more, 'task')} more: counted, and not listed."
