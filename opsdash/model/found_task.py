"""Where a task is: one place, everything that was found of an id, and one page of a search."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from opsdash.values import frozen

TaskState = Literal["waiting", "reserved", "scheduled", "active", "held", "cleared", "failed", "finished"]
"""In Celery's words; ``held``: set aside by a hold, or by an interrupted operation; ``cleared``: in the trash;
``failed``: kept as failed; ``finished``: the result backend has its result."""
STATES: tuple[TaskState, ...] = (
    "active",
    "reserved",
    "scheduled",
    "waiting",
    "held",
    "cleared",
    "failed",
    "finished",
)
"""In the order in which they count, where a task is in several places: the one that runs first."""
Looked = Literal["queues", "fetched", "workers", "trash", "failed", "results"]


@frozen(kw_only=True)
class TaskPlace:
    """One place where a task is.

    Attributes:
        queue: It waits there, or came from there; empty: not known.
        worker: Which worker has it; empty: none, or it is not known which.
        position: 1 is the next to run, of ``waiting`` in its queue: by priority, and then as workers take them.
        priority: The priority step of its list.
        since: When it began to run, in UTC, by the worker's clock.
        eta: Not before this, in UTC.
        arguments: Redacted; else why they are not shown.
        trash_id: Which clear it is in. ``hold``: which hold has set it aside: ``task shop.charge``.
        result: The status in the result backend. ``ended_at``: when that was stored, or the task failed last, in UTC.
        error: Of a failed one, the exception's type, or how it ended. ``sendable``: it can be sent again.
        chord, group, chain: It is part of such a workflow, as its message says.
        unreadable: Why its message is not looked into; empty: it is. ``size_bytes``: of the message.
    """

    id: str
    state: TaskState
    name: str = ""
    queue: str = ""
    worker: str = ""
    position: int | None = None
    waiting: int | None = None
    priority: int | None = None
    since: datetime | None = None
    eta: datetime | None = None
    sent_at: datetime | None = None
    retries: int = 0
    arguments: str = ""
    trash_id: str = ""
    hold: str = ""
    result: str = ""
    ended_at: datetime | None = None
    error: str = ""
    sendable: bool = False
    chord: bool = False
    group: bool = False
    chain: bool = False
    unreadable: str = ""
    size_bytes: int | None = None


@frozen(kw_only=True)
class LookedAt:
    """One kind of place that was looked at.

    Attributes:
        what: ``queues``, ``fetched`` (what workers have not acknowledged), ``workers`` (asked), ``trash``, ``failed``,
            ``results`` (the result backend).
        number: Queues, workers that answered, clears in the trash, failed tasks. ``of``: workers that were expected to
            answer.
        messages: How many were looked at; None where that is not what was done.
        complete: All of it was looked at.
        problem: Why not; empty where there is nothing to say.
        read_at: When the look ended, in UTC. ``age_s``: how long ago that was when the answer was put together.
    """

    what: Looked
    number: int = 0
    of: int | None = None
    messages: int | None = None
    complete: bool = True
    problem: str = ""
    read_at: datetime
    age_s: float = 0.0


@frozen(kw_only=True)
class FoundTask:
    """What was found of a task's id, or of the beginning of one.

    Attributes:
        id: The task's; as it was asked for where there is none, or more than one begins so.
        state: Where it is; ``not_found``; None where several ids begin so: see ``places``.
        queue, worker, position, waiting: Of the first place.
        places: Every place it is in, the one that counts most in front; 20 at most.
        more: There are more than those.
        complete: Everything was looked at: what was not found is not there.
        looked_at: What was looked at, in that order.
        result: The status in the result backend where that says it is not finished, such as ``STARTED``.
    """

    id: str
    state: TaskState | Literal["not_found"] | None
    queue: str = ""
    worker: str = ""
    position: int | None = None
    waiting: int | None = None
    places: tuple[TaskPlace, ...] = ()
    more: bool = False
    complete: bool = True
    looked_at: tuple[LookedAt, ...] = ()
    result: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that were found."""
        return tuple(dict.fromkeys(place.id for place in self.places))

    @property
    def found(self) -> bool:
        """It is there."""
        return bool(self.places)

    def look(self, what: Looked) -> LookedAt | None:
        """What was looked at of one kind."""
        return next((one for one in self.looked_at if one.what == what), None)


@frozen(kw_only=True)
class TaskPage:
    """One page of a search through tasks.

    Attributes:
        tasks: What matches: what runs, then what workers have fetched, then what waits, the newest of a queue first;
            then what is held, and what failed.
        looked_at: Tasks that this page looked at. ``of``: how many there were, about.
        after: Where the next page begins; empty: there is none.
        problems: What could not be looked at, one sentence each.
    """

    tasks: tuple[TaskPlace, ...] = ()
    looked_at: int = 0
    of: int = 0
    after: str = ""
    problems: tuple[str, ...] = ()
