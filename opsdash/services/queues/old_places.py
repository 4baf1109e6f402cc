"""Where removed tasks go: next to the nearest of their old neighbours that still waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from opsdash.model import untrusted

NEIGHBOURS = 5
"""On either side that are remembered: as long as one of them waits, its place is known."""

Side = Literal["behind", "before", "next", "alone", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Where a removed task was.

    Attributes:
        at: Its place in the trash's list. ``digest``: its own.
        newer: Digests of its neighbours, the nearest first; ``older``: the same.
        run: In which search it was found: what another one has found later is newer.
        size_bytes: Of its message.
    """

    at: int
    digest: str
    step: int
    newer: tuple[str, ...]
    older: tuple[str, ...]
    run: str = ""
    size_bytes: int = 0


@dataclass(slots=True)
class Gaps:
    """Which tasks go between which messages.

    Attributes:
        at: How many messages are newer than the gap → its tasks, the oldest first.
        sides: Of each task, by its place in the trash's list, next to which neighbour it is: ``behind`` a newer one,
            ``before`` an older one, ``next`` to run, or ``alone``, as it was.
        glued: Those that the task behind them does not know: they go back in one step.
    """

    at: dict[int, list[Task]]
    sides: dict[int, Side]
    glued: set[int]


def arrange(tasks: Sequence[Task], seen: Mapping[str, int], size: int, last: str = "") -> Gaps:
    """Next to the nearest neighbour that waits; a newer one is best: it is taken after the task would have been.

    Args:
        tasks: The oldest first.
        seen: Digest → place of messages, from the newest on. ``size``: how many there are; what has no neighbour
            among them comes behind all.
        last: Digest and run of the one that went back before.
    """
    found, placed = Gaps({}, {}, set()), dict[str, int]()
    for task in tasks:
        side: Side = "next" if size or task.newer or task.older else "alone"
        gap, at = size, 0
        older = neighbours(task, last)[1]
        if newer := next((one for one in task.newer if one in seen), ""):
            side, gap = "behind", seen[newer] + 1
            at = len(found.at.get(gap, ()))
        elif one := next((one for one in older if one in seen or one in placed), ""):
            side = "before" if one in task.older else "next"
            gap = placed[one] if one in placed else seen[one]
            of = found.at.get(gap, [])
            at = 0 if one in seen else len(of) - next(n for n, other in enumerate(reversed(of)) if other.digest == one)
        of = found.at.setdefault(gap, [])
        if at < len(of):
            found.glued.add(task.at)
        of.insert(at, task)
        placed[task.digest] = gap
        found.sides[task.at] = side
        last = f"{task.digest} {task.run}"
    return found


class Search:
    """Which neighbours of tasks a list has, from its newest message on, and when enough of it was looked at.

    Args:
        tasks: The oldest first.
        last: Digest and run of the one that went back before.
    """

    def __init__(self, tasks: Sequence[Task], last: str) -> None:
        self._tasks, self._last = tasks, last
        self._seen = set[str]()
        self._wanted = {one for task in tasks for side in neighbours(task, last) for one in side}
        own = {task.digest for task in tasks}
        self._ends = dict[str, list[tuple[str, int]]]()
        self._ended, self._first = dict[str, int](), dict[str, int]()
        for at, task in enumerate(tasks):
            newer, older = neighbours(task, last)
            for one in {*newer[:1], *older} - own:
                self._ends.setdefault(one, []).append((task.run, at))
            self._first.setdefault(task.run, at)
            self._ended[task.run] = len(tasks)

    def see(self, digests: Iterable[str]) -> None:
        """The next messages of the list."""
        for one in self._wanted.intersection(digests):
            self._seen.add(one)
            for run, at in self._ends.get(one, ()):
                self._ended[run] = min(self._ended[run], at)

    @property
    def complete(self) -> bool:
        """The place of the oldest task of each run was passed, and so those of the others."""
        return all(self._ended[run] <= first for run, first in self._first.items())

    def lost(self) -> list[Task]:
        """The first tasks, if the list has no neighbour of theirs: they run next."""
        found = list[Task]()
        for task in self._tasks:
            if task.run != self._tasks[0].run or self._nearest(task):
                break
            found.append(task)
        return found

    def followers(self) -> list[Task]:
        """The first tasks, if the one that went back before is the only neighbour of theirs."""
        before, found = self._last.partition(" ")[0], list[Task]()
        for task in self._tasks:
            if self._nearest(task) != before:
                break
            found.append(task)
        return found

    def placed(self) -> tuple[list[Task], set[str]]:
        """The first tasks whose place is known, and the digests of the messages that they go to."""
        found, known, nearest = list[Task](), set[str](), set[str]()
        for task in self._tasks:
            one = self._nearest(task)
            if not one and known.isdisjoint(task.older):
                break
            found.append(task)
            known.add(task.digest)
            nearest |= {one} - {""}
        return found, nearest

    def _nearest(self, task: Task) -> str:
        return next((one for side in neighbours(task, self._last) for one in side if one in self._seen), "")


def neighbours(task: Task, last: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Newer and older ones, the nearest first; what was found in the same search and went back before is older."""
    one, _, run = last.partition(" ")
    return task.newer, (*task.older, one) if one and run == task.run else task.older


def nearest_step(step: int, lists: Iterable[int]) -> int:
    """Source: kombu's Redis transport, ``Channel.priority``."""
    return max((known for known in lists if known <= step), default=min(lists))


def task_of(at: int, place: str, digest: str, size_bytes: int) -> Task:
    """From what the trash notes of it."""
    step, newer, older, run = [*place.split("|"), "", "", ""][:4]
    return Task(
        at=at,
        digest=digest,
        step=untrusted.whole(step) or 0,
        newer=_digests(newer),
        older=_digests(older),
        run=run,
        size_bytes=size_bytes,
    )


def _digests(text: str) -> tuple[str, ...]:
    return tuple(one for one in text.split()[:NEIGHBOURS] if len(one) == 40)
