"""Finding a task by its id, or by the beginning of one: wherever it waits, is held, was cleared, failed or finished.

It is looked for where it comes from before where it goes to: first in the queues, then among what workers have
fetched, then by asking the workers. What a worker gives back meanwhile goes the other way, to an end of its queue: so
both ends of each queue are looked at once more where nothing was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from opsdash.errors import Invalid, Unavailable
from opsdash.model import FoundTask, Progress, TaskPlace
from opsdash.model.found_task import STATES
from opsdash.model.found_task import Looked as Kind
from opsdash.services.broker.client import Broker
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import scan
from opsdash.services.queues.find_in_lists import Looked, Looks, OnProgress, Places, Source
from opsdash.services.queues.results import UNREADABLE, Results
from opsdash.services.queues.task_message import (
    LONGEST_ID,
    Wanted,
    entry_of,
    is_later,
    meant_id,
    place_of,
)
from opsdash.services.queues.trash import Trash
from opsdash.services.workers.task_holders import HeldTask, TaskHolders
from opsdash.text import count


def _ignore(_progress: Progress) -> None:
    return None


def _none_failed(_wanted: Wanted) -> tuple[tuple[TaskPlace, ...], int]:
    return (), 0


def checked_id(text: str, field: str = "task_id") -> str:
    """An id, or its beginning.

    Raises:
        Invalid: It is empty, too long, or more than one word.
    """
    if not text or len(text) > LONGEST_ID or not text.isprintable() or set(text) & set(" *?<>\"'`"):
        raise Invalid("expected one task's id.", field=field)
    return text


@dataclass(frozen=True, slots=True)
class TaskFinder:
    """Finds tasks by their ids.

    Attributes:
        queue_names: Every queue that is known now.
        redact: Regular expression: arguments that it finds are hidden as well; empty: none.
        failed: Failed tasks that are meant, and how many there are at all.
    """

    broker: Broker
    holders: TaskHolders
    trash: Trash
    results: Results
    queue_names: Callable[[], Sequence[str]]
    redact: str = ""
    failed: Callable[[Wanted], tuple[tuple[TaskPlace, ...], int]] = _none_failed

    def find(self, asked: str, on_progress: OnProgress = _ignore, *, whole: bool = False) -> FoundTask:
        """Where a task is, and what was looked at.

        Where it waits, or a worker has it, the trash, the failed tasks and the result backend are not asked any more.
        Workers or a result backend that don't answer are no error: the answer says that it is not complete.

        Cost: Redis sends what matches alone, and needs some 2 µs for each waiting message, in steps of 1 MB; the
        benchmark ``find-task`` measures it. Workers have a second to answer.

        Args:
            asked: An id, or ``SHORTEST_PREFIX`` characters or more of its beginning.
            whole: It is all of the id.

        Raises:
            Invalid: It is none. Unavailable: Redis did not answer.
        """
        search = _Search(self, Wanted(checked_id(asked), whole), on_progress)
        search.look_at("queues", search.queues)
        search.look_at("fetched", search.fetched)
        search.look_at("queues", search.held)
        search.look_at("workers", search.workers)
        search.places.drop_taken()
        if not search.places.found:
            search.places.edges(self.queue_names())
        if not search.alive:
            search.look_at("trash", search.trash)
            search.look_at("failed", search.failed)
            search.look_at("results", search.results)
        return search.found()


class _Search:
    """One search under way."""

    def __init__(self, finder: TaskFinder, wanted: Wanted, on_progress: OnProgress) -> None:
        self._finder, self._broker = finder, finder.broker
        self._wanted, self._asked = wanted, wanted.text
        self._looks = Looks()
        self._result = ""
        self.places = Places(finder.broker, wanted, finder.redact, on_progress)

    @property
    def alive(self) -> bool:
        """It waits, or a worker has it, and it is the one that was asked for."""
        return any(place.id == self._asked for place in self.places.found)

    def look_at(self, what: Kind, look: Callable[[Looked], None]) -> None:
        """One look, with when it ended. A second one of the same kind adds to the first."""
        self._looks.at(what, look)

    def found(self) -> FoundTask:
        """The answer."""
        places = sorted(self.places.found, key=lambda place: (STATES.index(place.state), place.position or 0))
        ids = {place.id for place in places}
        looked_at = self._looks.told()
        known = FoundTask(
            id=self._asked,
            state="not_found",
            more=self.places.more,
            complete=all(looked.complete for looked in looked_at) and not self.places.more,
            looked_at=looked_at,
            result=self._result,
        )
        if not places:
            return known
        first, several = places[0], len(ids) > 1
        return replace(
            known,
            id=self._asked if several else first.id,
            state=None if several else first.state,
            queue="" if several else first.queue,
            worker="" if several else first.worker,
            position=None if several else first.position,
            waiting=None if several else first.waiting,
            places=tuple(places),
        )

    def queues(self, looked: Looked) -> None:
        """All that waits, each list from its newest message on."""
        names = tuple(self._finder.queue_names())
        lists = {name: self._broker.lists(name) for name in names}
        moving = self.places.moving(names)
        looked.number = len(names)
        sources = [
            Source(queue=name, step=step, key=key, lists=tuple(of.values()))
            for name, of in lists.items()
            for step, key in of.items()
        ]
        self.places.go_through(looked, sources, count(len(names), "queue"))
        for name in dict.fromkeys([*moving, *self.places.moving(names)]):
            looked.lacks(f"an operation moves tasks of {name}, and has some of them set aside")

    def held(self, looked: Looked) -> None:
        """All that a hold has set aside. After what was fetched, which is where it comes from."""
        holds = Holds(self._broker)
        named = {hold.id: str(hold) for hold in holds.read().holds}
        lists = [one for one in holds.lists(named) if not one.released] if named else []
        sources = [
            Source(
                queue=one.queue,
                step=int(one.step),
                key=(key := self._broker.keys.held(one.hold, one.step, one.queue)),
                lists=(key,),
                state="held",
                hold=named[one.hold],
            )
            for one in lists
        ]
        self.places.go_through(looked, sources, "held tasks")

    def trash(self, looked: Looked) -> None:
        """All that was cleared and can be restored."""
        entries, unread = self._finder.trash.look()
        looked.number = len(entries)
        lists = self._finder.trash.lists(entries)
        sources = [
            Source(
                queue=queue,
                step=step,
                key=key,
                lists=(key,),
                state="held" if aside else "cleared",
                trash_id=entry.id,
            )
            for entry, of in zip(entries, lists, strict=True)
            for queue, step, key, aside in of
        ]
        self.places.go_through(looked, sources, "the trash")
        for one in unread:
            looked.lacks(one.message)

    def fetched(self, looked: Looked) -> None:
        """What workers have fetched and not acknowledged: who has it, the workers say."""
        cursor, looked.messages, now = 0, 0, datetime.now(UTC)
        while True:
            cursor, number, whole, entries = scan.fetched(self._broker, cursor, self.places.texts)
            looked.messages += number
            if not whole:
                looked.lacks("a fetched message is too large to be looked into, and may be it")
            for entry in entries:
                raw, routing_key = entry_of(entry)
                if not raw or not self.places.is_new("", entry) or not (task_id := meant_id(raw, self._wanted)):
                    continue
                place = place_of(raw, task_id, "reserved", redact=self._finder.redact, queue=routing_key)
                self.places.add(replace(place, state="scheduled" if is_later(place.eta, now) else "reserved"))
            if not cursor or self.places.full(looked):
                break

    def workers(self, looked: Looked) -> None:
        """Every worker is asked: what runs is acknowledged as a rule, and then no more in Redis."""
        holders, asked = self._finder.holders, self._asked
        ids = list(dict.fromkeys([asked, *(place.id for place in self.places.found if place.state != "waiting")]))
        try:
            answers = [holders.have(ids)]
            if self._wanted.is_prefix and not self.alive and not any(task.id == asked for task in answers[0].tasks):
                answers.append(holders.running(self._wanted, ask=True))
        except Unavailable as error:
            looked.lacks(error.message)
            return
        looked.number, silent = answers[0].answered, answers[0].silent
        looked.of = looked.number + len(silent)
        if silent:
            looked.lacks(f"no answer from {', '.join(silent[:5])}" + (" and others" if len(silent) > 5 else ""))
        for task in {(task.worker, task.id): task for answer in answers for task in answer.tasks}.values():
            if self._wanted(task.id):
                self._held(task)

    def failed(self, looked: Looked) -> None:
        """Failed tasks that are kept."""
        found, looked.number = self._finder.failed(self._wanted)
        for place in found:
            self.places.add(place)

    def results(self, looked: Looked) -> None:
        """The app's result backend, by the id as it was asked for: it can't be searched."""
        if why := self._finder.results.why_not:
            looked.problems.append(why)
            return
        try:
            result = self._finder.results.look(self._asked)
        except Unavailable as error:
            looked.lacks(error.message)
            return
        looked.number = 1
        if result is None:
            return
        if result.ended:
            self.places.add(TaskPlace(id=self._asked, state="finished", result=result.status, ended_at=result.ended_at))
            return
        self._result = result.status
        if result.status == UNREADABLE:
            looked.problems.append("it has something of this task, which is not JSON and is not opened")

    def _held(self, task: HeldTask) -> None:
        """A worker says that it has it: what its message says of it is known by then, if it is still there."""
        of_message = next(
            (p for p in self.places.found if p.id == task.id and p.state in {"reserved", "scheduled"}), None
        )
        if of_message is not None and not of_message.worker:
            self.places.found.remove(of_message)
            state = "scheduled" if (task.state, of_message.state) == ("reserved", "scheduled") else task.state
            self.places.add(
                replace(
                    of_message, state=state, worker=task.worker, since=task.since, queue=of_message.queue or task.queue
                )
            )
            return
        self.places.add(
            TaskPlace(
                id=task.id,
                state=task.state,
                name=task.name,
                queue=task.queue,
                worker=task.worker,
                since=task.since,
                arguments=task.arguments,
            )
        )
