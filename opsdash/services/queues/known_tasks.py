"""Whether anybody knows a task of some name: a name that was mistyped is taken, and does nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING

from opsdash.errors import Unavailable
from opsdash.model import Line, untrusted
from opsdash.services.broker.messages import UNREADABLE
from opsdash.services.queues.sampling import TaskSample, sample_tasks
from opsdash.services.workers.remote_control import Remote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from opsdash.services.broker.client import Broker

MOST_TASKS = 5_000
"""Registered tasks that are looked at, of all workers."""
CELERYS = "celery."
"""How names of Celery's own tasks begin, of which workers don't tell."""


SUGGESTED = 8
"""Names that a dialog offers."""


def names_of_waiting(broker: Broker, queues: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the tasks that wait most often: to choose from."""
    return tuple(name for name in sample_tasks(broker, queues).by_task if name != UNREADABLE)[:SUGGESTED]


def unknown_task(remote: Remote, name: str, matching: TaskSample) -> list[Line]:
    """A warning where no worker that answers registers such a task and none waits; nothing where that is not known.

    Args:
        name: Of the task; ``*`` matches any text.
        matching: The waiting tasks of that name.

    Cost: nothing while such a task waits; else a question to all workers, which takes up to ``ANSWER_S``.
    """
    if matching.number or name.startswith(CELERYS):
        return []
    try:
        answers = remote.ask("registered", remote.hostnames())
    except Unavailable:
        return []  # who can't ask warns of nothing
    known = list(dict.fromkeys(islice(_names(answers), MOST_TASKS)))
    if not known or any(fnmatchcase(one, name) for one in known):
        return []
    like = difflib.get_close_matches(name, known, n=1)
    waiting = (
        f"none of the {matching.looked_at:,} waiting tasks looked at has it" if matching.looked_at else "none waits"
    )
    if matching.looked_at == 1:
        waiting = "the one waiting task has another"
    hint = f" Did you mean {like[0]}?" if like else ""
    return [Line("warning", f"No worker that answered registers a task named {name}, and {waiting}.{hint}")]


def _names(answers: Mapping[str, Any]) -> Iterator[str]:
    """Of what Celery answers each name alone: ``shop.charge [rate_limit=10/s]``."""
    for tasks in answers.values():
        for line in tasks if isinstance(tasks, list) else ():
            if isinstance(line, str):
                yield untrusted.words(line.partition(" [")[0])
