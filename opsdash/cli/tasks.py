"""``find-task``, ``tasks``: where one task is, and which tasks there are by name and argument text."""

from __future__ import annotations

from typing import Any, cast

import click

from opsdash.cli.output import print_line, print_table
from opsdash.cli.plain import json_option, print_json, warn
from opsdash.cli.progress import Bar
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.errors import Refused, Uncertain
from opsdash.model import FoundTask, Progress, TaskPlace, to_plain
from opsdash.operation import command_line
from opsdash.operations.remove_task import act_on
from opsdash.services.queues.found_text import looked_at, summary, where
from opsdash.services.queues.search_tasks import SEARCHED, SearchState, TaskQuery
from opsdash.text import count, shell_word


@click.command("find-task", cls=Command)
@click.argument("task_id", metavar="ID")
@json_option
def find_task(*, task_id: str, as_json: bool) -> None:
    """Where a task is: waiting, in a worker, cleared, failed or finished.

    ID: The task's id, or 8 characters or more of its beginning.

    Exit code 3: there is no such task; 5: it was not found, and not everything could be looked at.
    """
    with connected() as console, Bar() as bar:
        found = console.find_task(task_id, bar.show)
    if as_json:
        print_json(as_plain(found))
    else:
        _print_found(found)
    if not found.places:
        there_is_none = found.complete and not found.result
        click.get_current_context().exit(Refused.exit_code if there_is_none else Uncertain.exit_code)


def _print_found(found: FoundTask) -> None:
    print_line(summary(found))
    if len(found.ids) > 1 or len(found.places) > 1:
        _print_places(found.places)
    elif found.places:
        _print_details(found.places[0])
    for one in looked_at(found):
        print_line(f"  {one}")
    if not found.places and not found.complete:
        warn("not everything could be looked at: the task may be there")
    if len(found.ids) == 1 and any(place.chord or place.group or place.chain for place in found.places):
        print_line(f"Its workflow: opsdash workflow {shell_word(found.id)}")
    if len(found.ids) == 1 and (act := act_on(found.places[0])) is not None:
        print_line(f"{act.title}: {command_line(act)}")


def as_plain(found: FoundTask) -> dict[str, Any]:
    """For programs: the answer, and the operation that fits where the task is."""
    act = act_on(found.places[0]) if len(found.ids) == 1 else None
    fitting = None if act is None else {"operation": act.name, "params": act.params()}
    return {**to_plain(found), "act": fitting}


def _print_details(place: TaskPlace) -> None:
    facts = {
        "Task": place.name,
        "Queue": place.queue if place.state != "waiting" else "",
        "Arguments": place.arguments or place.unreadable,
        "Sent": f"{place.sent_at:%Y-%m-%d %H:%M:%S} UTC" if place.sent_at else "",
        "Retries": str(place.retries) if place.retries else "",
    }
    for name, value in facts.items():
        if value:
            print_line(f"  {name}: {value}")


def _print_places(places: tuple[TaskPlace, ...]) -> None:
    print_table(
        ["Id", "Task", "Where", "Arguments"],
        [(place.id, place.name or place.unreadable or "-", where(place), place.arguments) for place in places],
        empty="",
        gives_way=("Arguments",),
        wraps=("Where", "Arguments"),
    )


@click.command(cls=Command)
@click.option("--name", default="", help="Name of the task; * matches any text.")
@click.option("--text", default="", help="A text in the id, the name or the arguments, as they are shown.")
@click.option("--queue", default="", help="Only of this queue.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(SEARCHED),
    help="Only tasks in this state; give it several times for more.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="About how many: what runs, and what was fetched, is shown as a whole.",
)
@click.option("--after", default="", help='Go on where the page before ended: its "after" in --json.')
@json_option
def tasks(*, name: str, text: str, queue: str, states: tuple[str, ...], limit: int, after: str, as_json: bool) -> None:
    """Tasks that run, that workers have fetched, that wait, and that failed: by name and argument text.

    The newest of a queue come first. Arguments that look secret are hidden, and not searched.
    """
    chosen = cast("tuple[SearchState, ...]", states or SEARCHED)
    found: list[TaskPlace] = []
    problems: dict[str, None] = {}
    looked, of = 0, 0
    with connected() as console, Bar() as bar:
        if queue:
            console.queues.check(queue, console.queue_names())
        while True:

            def show(at: int, total: int, before: int = looked, already: int = len(found)) -> None:
                message = f"{before + at:,} tasks looked at, {already:,} found"
                bar.show(Progress(done=False, message=message, at=before + at, of=total))

            query = TaskQuery(name=name, text=text, queue=queue, states=chosen)
            page = console.tasks.page(query, after=after, limit=limit - len(found), on_progress=show)
            found += page.tasks
            problems |= dict.fromkeys(page.problems)
            looked, of, after = looked + page.looked_at, page.of, page.after
            if not after or len(found) >= limit:
                break
    for problem in problems:
        warn(problem)
    if as_json:
        print_json({"tasks": found, "looked_at": looked, "of": of, "after": after, "problems": list(problems)})
        return
    print_table(
        ["Id", "Task", "Where", "Arguments"],
        [
            (one.id or "-", one.name or one.unreadable or "-", where(one), one.arguments or one.unreadable)
            for one in found
        ],
        empty=f"No task of {count(looked, 'task')} matches.",
        gives_way=("Arguments",),
        wraps=("Where", "Arguments"),
    )
    if after:
        print_line(f"{count(looked, 'task')} looked at; there may be more: --limit, or --after {after}")
