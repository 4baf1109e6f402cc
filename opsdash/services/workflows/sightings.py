"""Where the tasks of a workflow were seen, and how what one says leads to the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from opsdash.model import LookedAt
from opsdash.model.workflow import WORKFLOW_STATES, WorkflowState
from opsdash.services.workflows.links import Links
from opsdash.values import frozen

MOST_KEYS = 50
"""Roots and groups of one workflow whose tasks are looked for."""


@frozen(kw_only=True)
class Sighting:
    """One place where a task of the workflow is.

    Attributes:
        raw: Its message, or the mark of a large one; empty where it is not at hand, or there is none.
        step: The priority step of its list. ``index``: its place there, from the newest message on.
        hold: The hold that has set it aside; empty: none, or an interrupted operation has.
        failure_id: Of a failed one, the id that it is kept by.
        linked: It says what it belongs to; of a running task an unmanaged worker does not.
    """

    links: Links
    state: WorkflowState
    name: str = ""
    queue: str = ""
    step: int = 0
    index: int = 0
    worker: str = ""
    raw: bytes = b""
    trash_id: str = ""
    hold: str = ""
    error: str = ""
    failure_id: str = ""
    arguments: str = ""
    since: datetime | None = None
    eta: datetime | None = None
    linked: bool = True

    @property
    def id(self) -> str:
        """The task's."""
        return self.links.id


@dataclass(slots=True)
class Seen:
    """What one look has found.

    Attributes:
        sightings: Of tasks that belong to the workflow, in the order in which they were seen.
        keys: Roots and groups by which they belong to it.
        problems: What is not known, one sentence each.
    """

    asked: str
    sightings: list[Sighting] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    complete: bool = True
    looked_at: tuple[LookedAt, ...] = ()
    problems: list[str] = field(default_factory=list)

    def lacks(self, why: str) -> None:
        """Something is not known."""
        self.complete = False
        if why not in self.problems:
            self.problems.append(why)

    def grow(self) -> set[str]:
        """Further roots and groups that it belongs to; they are keys from now on.

        Only what the task that was asked for belongs to is one, and not what others say that they belong to as well: a
        message with odd headers brings no other workflow in.
        """
        found = dict.fromkeys(self.climb())
        for one in self.sightings:
            links = one.links
            # Each member of a group that no task has sent is its own root. One that never ran has sent nothing.
            ran = links.retries or one.state in ("active", "failed")
            if ran and links.group in self.keys and links.root in ("", links.id):
                found[links.id] = None
        new = [key for key in found if key not in self.keys]
        room = max(0, MOST_KEYS - len(self.keys))
        if len(new) > room:
            self.lacks(f"it has more than {MOST_KEYS} roots: what the others' tasks have sent is not looked for")
        self.keys.update(new[:room])
        return set(new[:room])

    def best(self) -> Mapping[str, Sighting]:
        """Id → the place that counts most: what runs first, what waits in the order in which it runs."""
        found: dict[str, Sighting] = {}
        for one in sorted(self.sightings, key=_in_order):
            found.setdefault(one.id, one)
        return found

    def top(self) -> str:
        """The id that names the whole: its root's, or a group's that no task has sent; empty: nothing was found."""
        return self.climb()[-1] if self.sightings else ""

    def climb(self) -> list[str]:
        """From the id that was asked for to the one that names the whole."""
        by_id = {task_id: one.links for task_id, one in self.best().items() if one.linked}
        path, at = [self.asked], self.asked
        while True:
            if links := by_id.get(at):
                at = links.root if links.root and links.root != at else links.group or at
            else:
                at = _named_by(at, by_id.values())
            if at in path:
                return path
            path.append(at)


def _in_order(one: Sighting) -> tuple[int, str, int, int, str]:
    return WORKFLOW_STATES.index(one.state), one.queue, one.step, -one.index, one.id


def _named_by(task_id: str, known: Iterable[Links]) -> str:
    """What a task that was not seen itself belongs to, by what others say of it; itself where they say nothing."""
    for links in known:
        if links.parent == task_id and links.root:
            return links.root
        if links.group == task_id and links.root not in ("", links.id):
            return links.root
        if any(one.id == task_id or one.group == task_id for one in links.unsent):
            return links.root or links.id
    return task_id
