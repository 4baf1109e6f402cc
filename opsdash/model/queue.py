"""Queues, and what was cleared from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from opsdash.model.time_in_queue import QueuePace
from opsdash.values import frozen


@frozen(kw_only=True)
class QueueStats:
    """One queue: messages in its Redis lists, by priority step.

    Attributes:
        by_priority: Priority step → waiting messages; steps without messages are left out.
        paused: By its own pause or by the pause of all queues.
        oldest_s: Age of the oldest of the tasks that run next; None where nothing waits, or nothing is known yet.
        oldest_at_least: It is at least that old: a task that runs next does not say when it was sent.
        error: Why its length can't be read (a key of another type has its name); ``waiting`` is what could be.
        consumed: Whether a worker takes tasks from it; None while that is not known.
        pace: How long its tasks wait, and how it is worked off; None: the history has nothing of it.
    """

    name: str
    waiting: int
    by_priority: Mapping[int, int] = field(default_factory=dict)
    paused: bool = False
    error: str = ""
    oldest_s: float | None = None
    oldest_at_least: bool = False
    consumed: bool | None = None
    pace: QueuePace | None = None


FAILED_TASKS, WORKFLOW = "failed", "workflow"
"""Kinds of a trash that has failed tasks, or the waiting tasks of a workflow."""


@frozen(kw_only=True)
class TrashEntry:
    """One clear whose messages are kept, or failed tasks that were discarded.

    Attributes:
        id: What ``restore-queue`` takes.
        kind: ``queue``; ``failed`` for failed tasks, ``workflow`` for the tasks of one: they are of no one queue.
        root: The id that names the workflow; empty: it is none.
        count: Messages that it still has of the clear, by all priorities: after an interrupted restore what is left.
        set_aside: Newer messages of the queue that a restore has put behind them; they go back with the last ones.
        size_bytes: Their size in Redis, estimated from a few of them; None: unknown.
        by: Who cleared them. ``at``: when, in UTC.
        expires_at: When the undo window ends, in UTC; None while something is under way: nothing expires then.
        task_id: It is one task that was removed alone, and goes back to its own place; empty: a clear.
        state: ``kept``, or what was begun and has not come to its end: ``clearing`` or ``restoring``.
    """

    id: str
    queue: str
    count: int
    size_bytes: int | None = None
    by: str = ""
    at: datetime | None = None
    expires_at: datetime | None = None
    state: str = "kept"
    set_aside: int = 0
    kind: str = "queue"
    task_id: str = ""
    root: str = ""

    @property
    def source(self) -> str:
        """Where its tasks came from: the queue, or the failed tasks."""
        if self.kind == WORKFLOW:
            return f"workflow {self.root}"
        return "failed tasks" if self.kind == FAILED_TASKS else f"queue {self.queue}"

    @property
    def name(self) -> str:
        """The same, for a column of queues' names."""
        if self.kind == FAILED_TASKS:
            return "(failed tasks)"
        if self.kind == WORKFLOW:
            return f"(workflow) {self.root}"
        return f"{self.queue}: {self.task_id}" if self.task_id else self.queue
