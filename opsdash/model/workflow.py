"""A workflow: the tasks that belong together, as far as messages and workers tell, drawn as a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Literal

from opsdash.model.found_task import LookedAt, TaskState
from opsdash.values import frozen

WorkflowState = TaskState | Literal["not_sent", "unknown"]
"""``not_sent``: another task's message says that it is sent later; ``unknown``: others name it, and nothing of it is
found: it is finished, or was never seen."""
Part = Literal["task", "next", "body", "callback", "errback", "group"]
"""What a task is to the one it hangs under: ``next`` of a chain, ``body`` of a chord, ``callback`` (``link``) or
``errback`` (``link_error``). ``group``: no task, but the group that its tasks name."""
WORKFLOW_STATES: tuple[WorkflowState, ...] = (
    "active",
    "reserved",
    "scheduled",
    "waiting",
    "held",
    "failed",
    "cleared",
    "not_sent",
    "finished",
    "unknown",
)
"""In the order in which they count, where a task is in several places."""
LEFT: frozenset[WorkflowState] = frozenset({"active", "reserved", "scheduled", "waiting", "held"})
"""Of a task that still runs, or will."""


@frozen(kw_only=True)
class WorkflowTask:
    """One row of the tree.

    Attributes:
        id: Empty of a callback, which gets one when it is sent.
        depth: 0 of the tasks at the top.
        queue: It waits there, or came from there; empty: not known. ``worker``: which has it.
        parent: The task that sent it, or will; empty: none, or not known. ``group``: its group's id.
        root: The root of its workflow, as it says itself; its own id for a task that no other one sent.
        children: Ids of those under it, ``MOST_CHILDREN`` at most; ``of_children``: how many there are.
        arguments: Redacted; else why they are not shown.
        eta: Not before this. ``since``: when it began to run. Both in UTC.
        error: Of a failed one, the exception's type. ``trash_id``: which trash has it.
        chord: It is a member of a chord.
    """

    id: str
    state: WorkflowState
    depth: int = 0
    part: Part = "task"
    name: str = ""
    queue: str = ""
    worker: str = ""
    parent: str = ""
    group: str = ""
    root: str = ""
    children: tuple[str, ...] = ()
    of_children: int = 0
    arguments: str = ""
    retries: int = 0
    eta: datetime | None = None
    since: datetime | None = None
    error: str = ""
    trash_id: str = ""
    chord: bool = False

    @property
    def gap(self) -> bool:
        """Nothing is known of it but that others name it."""
        return self.state == "unknown" and self.part != "group"


@frozen(kw_only=True)
class Workflow:
    """The workflow of a task.

    Attributes:
        id: As it was asked for.
        root: The id that names the whole of it: its root's, or its group's where its tasks have no common root; empty:
            nothing was found.
        group: The group's id where the root is one, else empty.
        tasks: In the order of the tree, each behind the one it hangs under; ``MOST_TASKS`` at most.
        total: How many there are, gaps and those that were not sent included. ``counts``: state → how many.
        gaps: Ids that others name, and of which nothing is known: finished, or never seen. Some of them.
        complete: Everything was looked at. ``looked_at``: what.
        problems: What is not known, one sentence each.
    """

    id: str
    root: str = ""
    group: str = ""
    tasks: tuple[WorkflowTask, ...] = ()
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()
    complete: bool = True
    looked_at: tuple[LookedAt, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Tasks that still run, or will without anybody's doing."""
        return sum(number for state, number in self.counts.items() if state in LEFT)

    @property
    def more(self) -> int:
        """How many are not among ``tasks``."""
        return max(0, self.total - len(self.tasks))
