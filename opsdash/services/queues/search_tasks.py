"""Searching tasks by name and by a text as an operator may see it, a page at a time.

What runs, is fetched, waits, and failed.

Only what may be shown is searched: a search in what is hidden would tell it. A queue is gone through from its newest
message on, so that none is missed that waits all the while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, Protocol

from opsdash.errors import Unavailable
from opsdash.model import TaskPage, TaskPlace
from opsdash.model.hold import HeldList
from opsdash.redaction import masked
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import envelope, task_name
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import scan
from opsdash.services.queues.peek import LARGE
from opsdash.services.queues.search_cursor import FAILED, FETCHED, HELD, RUNNING, WAITING, Cursor
from opsdash.services.queues.search_text import may_hold, searched, words_of
from opsdash.services.queues.task_message import entry_of, id_of, is_later, place_of
from opsdash.services.queues.watermark import digest
from opsdash.services.workers.task_holders import Answers, TaskHolders

SearchState = Literal["active", "reserved", "scheduled", "waiting", "held", "failed"]
SEARCHED: tuple[SearchState, ...] = ("active", "reserved", "scheduled", "waiting", "held", "failed")
LOOK_S = 1.0
"""Of one page: then it ends where it is, and the next one begins there."""
MOST_PAGE = 200
"""Tasks of one page."""
FAILED_STEP = 50
"""Failed tasks of one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks are meant: all that is given must hold.

    Attributes:
        name: Name of the task; ``*`` matches any text, e.g. ``shop.mail.*``. Empty: any.
        text: A text in the id, the name or the arguments, whatever the case. Empty: any.
        queue: Of this queue; a running task counts by its routing key. Empty: of any.
        states: Only tasks that are there.
    """

    name: str = ""
    text: str = ""
    queue: str = ""
    states: tuple[SearchState, ...] = SEARCHED

    def takes_name(self, name: str) -> bool:
        """The name fits."""
        return not self.name or fnmatchcase(name, self.name)

    def takes_text(self, *texts: str) -> bool:
        """The text is in one of these."""
        wanted = self.text.casefold()
        return not wanted or any(wanted in text.casefold() for text in texts)


class FailedPlaces(Protocol):
    """Failed tasks, as a search looks at them."""

    def ids(self) -> Sequence[str]:
        """Of all that are kept, those that failed last first."""

    def places(self, ids: Sequence[str]) -> Iterable[TaskPlace]:
        """Those of these that are kept still."""


@dataclass(frozen=True, slots=True)
class TaskSearch:
    """Searches the tasks of a deployment, page by page. Memory: one page, and one step of a list.

    Attributes:
        queue_names: Every queue that is known now.
        redact: Regular expression: arguments that it finds are hidden as well; empty: none.
        failed: Failed tasks; None: they are not looked at.
    """

    broker: Broker
    holders: TaskHolders
    queue_names: Callable[[], Sequence[str]]
    redact: str = ""
    failed: FailedPlaces | None = None

    def page(
        self,
        query: TaskQuery,
        *,
        after: str = "",
        limit: int = 50,
        look_s: float = LOOK_S,
        on_progress: Callable[[int, int], None] = lambda _at, _of: None,
    ) -> TaskPage:
        """Some of the tasks that match, and where to go on.

        A page ends with ``limit`` tasks, after ``look_s``, or at the end. A task that stays where it is all the while
        is on one of the pages. One that moves between two of them may be on two or on none.

        Args:
            after: The ``after`` of the page before; empty: the first page.
            on_progress: Called with how many were looked at, of about how many.

        Raises:
            Invalid: ``after`` is none. Unavailable: Redis did not answer.
        """
        return _Page(self, query, min(limit, MOST_PAGE), time.monotonic() + look_s, on_progress).read(after)

    def waiting(self, queue: str, text: str, *, after: str = "", limit: int = 20, look_s: float = LOOK_S) -> TaskPage:
        """Those that wait in one queue, with this text; as ``page``."""
        query = TaskQuery(queue=queue, text=text, states=("waiting",))
        return self.page(query, after=after, limit=limit, look_s=look_s)


@dataclass
class _Page:
    search: TaskSearch
    query: TaskQuery
    limit: int
    until_s: float
    on_progress: Callable[[int, int], None]
    found: list[TaskPlace] = field(default_factory=list)
    looked_at: int = 0
    of: int = 0
    problems: list[str] = field(default_factory=list)
    answers: Answers | None = None

    def read(self, after: str) -> TaskPage:
        """The page."""
        at = Cursor.of(after) if after else Cursor()
        self.of = self._total()
        end: Cursor | None = None
        for cursor in self._steps(at):
            end = cursor
            self.on_progress(self.looked_at, max(self.of, self.looked_at))
            if cursor is not None and (len(self.found) >= self.limit or time.monotonic() > self.until_s):
                break
        return TaskPage(
            tasks=tuple(self.found),
            looked_at=self.looked_at,
            of=max(self.of, self.looked_at),
            after=end.text if end is not None else "",
            problems=tuple(self.problems),
        )

    def _steps(self, at: Cursor) -> Iterator[Cursor | None]:
        """After each step, where the next one begins; None at the end."""
        if at.stage == RUNNING:
            if "active" in self.query.states:
                self._running()
            at = Cursor(stage=FETCHED)
            yield at
        if at.stage == FETCHED:
            if {"reserved", "scheduled"} & set(self.query.states):
                yield from self._fetched(at.at)
            at = Cursor(stage=WAITING)
            yield at
        if at.stage == WAITING:
            if "waiting" in self.query.states:
                yield from self._queues(at)
            at = Cursor(stage=HELD)
            if self.held_lists:
                yield at
        if at.stage == HELD:
            yield from self._held(at)
            at = Cursor(stage=FAILED)
            if self.failed_ids:
                yield at
        yield from self._failed(at)
        yield None

    def _ask(self) -> Answers:
        """What runs; asked once for a page."""
        if self.answers is None:
            try:
                self.answers = self.search.holders.running()
            except Unavailable as error:
                self.answers = Answers()
                self.problems.append(error.explanation)
            if self.answers.silent:
                self.problems.append(f"No answer from {', '.join(self.answers.silent[:5])}.")
        return self.answers

    def _running(self) -> None:
        answers = self._ask()
        self.looked_at += len(answers.tasks)
        for task in answers.tasks:
            if (
                self.query.queue in ("", task.queue)
                and self.query.takes_name(task.name)
                and self.query.takes_text(task.id, task.name, task.arguments)
            ):
                self.found.append(
                    TaskPlace(
                        id=task.id,
                        state="active",
                        name=task.name,
                        queue=task.queue,
                        worker=task.worker,
                        since=task.since,
                        arguments=task.arguments,
                    )
                )

    def _fetched(self, cursor: int) -> Iterator[Cursor]:
        now, running = datetime.now(UTC), {task.id for task in self._ask().tasks}
        while True:
            cursor, number, _, entries = scan.fetched(self.search.broker, cursor)
            self.looked_at += number
            for entry in entries:
                raw, routing_key = entry_of(entry)
                if self.query.queue not in ("", routing_key) or (place := self._match(raw)) is None:
                    continue
                place = replace(place, state="scheduled" if is_later(place.eta, now) else "reserved", queue=routing_key)
                if place.state in self.query.states and place.id not in running:  # a late ack is of one that runs
                    self.found.append(place)
            if not cursor:
                return
            yield Cursor(stage=FETCHED, at=cursor)

    def _queues(self, at: Cursor) -> Iterator[Cursor]:
        broker = self.search.broker
        names = [self.query.queue] if self.query.queue else list(self.search.queue_names())
        if at.queue:
            names = names[names.index(at.queue) :] if at.queue in names else names
        for name in names:
            lists = broker.lists(name)
            steps = list(lists)
            if name == at.queue and at.step in steps:
                steps = steps[steps.index(at.step) :]
            for step in steps:
                here = at if (name, step) == (at.queue, at.step) else Cursor(stage=WAITING)
                yield from self._list(name, step, lists, here)

    def _list(self, queue: str, step: int, lists: dict[int, str], at: Cursor) -> Iterator[Cursor]:
        ahead, key = [of for one, of in lists.items() if one < step], lists[step]
        for window in scan.windows(self.search.broker, key, at.at, at.seen):
            if window.length is None:
                self.problems.append(f"A key of {queue} is not a list.")
                return
            if not window.messages:
                continue
            before = self._lengths(ahead)
            own, total = window.length, self._lengths(lists.values())
            for offset, raw in enumerate(window.messages):
                index = window.start + offset
                self.looked_at += 1
                if (place := self._match(raw)) is None:
                    continue
                position, waiting = sum(before) + own - index, max(sum(total), sum(before) + own - index)
                self.found.append(replace(place, queue=queue, priority=step, position=position, waiting=waiting))
                if len(self.found) >= self.limit:
                    yield Cursor(stage=WAITING, queue=queue, step=step, at=index + 1, seen=digest(raw))
            last = window.start + len(window.messages)
            yield Cursor(stage=WAITING, queue=queue, step=step, at=last, seen=digest(window.messages[-1]))

    def _held(self, at: Cursor) -> Iterator[Cursor]:
        """What holds have set aside, each list from its newest message on."""
        broker, fields = self.search.broker, [one.field for one, _ in self.held_lists]
        start = fields.index(at.queue) if at.queue in fields else 0
        for one, hold in self.held_lists[start:]:
            here = at if one.field == at.queue else Cursor(stage=HELD)
            key = broker.keys.held(one.hold, one.step, one.queue)
            for window in scan.windows(broker, key, here.at, here.seen):
                for offset, raw in enumerate(window.messages):
                    self.looked_at += 1
                    if (place := self._match(raw)) is None:
                        continue
                    self.found.append(replace(place, state="held", queue=one.queue, priority=int(one.step), hold=hold))
                    if len(self.found) >= self.limit:
                        last = window.start + offset + 1
                        yield Cursor(stage=HELD, queue=one.field, at=last, seen=digest(raw))
                if window.messages:
                    last = window.start + len(window.messages)
                    yield Cursor(stage=HELD, queue=one.field, at=last, seen=digest(window.messages[-1]))

    @cached_property
    def held_lists(self) -> list[tuple[HeldList, str]]:
        """The lists of held tasks that may be meant, each with its hold."""
        if "held" not in self.query.states:
            return []
        holds = Holds(self.search.broker)
        named = {hold.id: str(hold) for hold in holds.read().holds}
        lists = holds.lists(named) if named else []
        return [(one, named[one.hold]) for one in lists if not one.released and self.query.queue in ("", one.queue)]

    def _failed(self, at: Cursor) -> Iterator[Cursor]:
        """Those that failed last first; what fails meanwhile moves the others on, so the last one seen says where."""
        ids, start = self.failed_ids, at.at
        if at.seen in ids:
            start = ids.index(at.seen) + 1
        while self.search.failed is not None and (step := ids[start : start + FAILED_STEP]):
            for place in self.search.failed.places(step):
                if (
                    self.query.queue in ("", place.queue)
                    and self.query.takes_name(place.name)
                    and self.query.takes_text(place.id, place.name, place.arguments)
                ):
                    self.found.append(place)
                    if len(self.found) >= self.limit:
                        step = step[: step.index(place.id) + 1]
                        break
            start += len(step)
            self.looked_at += len(step)
            if start < len(ids):
                yield Cursor(stage=FAILED, at=start, seen=step[-1])

    @cached_property
    def failed_ids(self) -> list[str]:
        """Of all failed tasks that may be meant."""
        return list(self.search.failed.ids()) if self.search.failed and "failed" in self.query.states else []

    def _match(self, raw: bytes) -> TaskPlace | None:
        """What may be seen of a message that is meant; None: it is not, or it can't be looked into."""
        if bounded_reads.size_of(raw) > LARGE:
            return None if self.query.name or self.query.text else place_of(raw, "", "waiting")
        message = envelope(raw)
        if message is None:
            return None if self.query.name or self.query.text else place_of(raw, "", "waiting")
        name = task_name(message)
        if not self.query.takes_name(name):
            return None
        task_id = id_of(message)
        if not self.query.takes_text(masked(task_id), masked(name)):
            if not may_hold(message, self.words):
                return None
            if not self.query.takes_text(searched(message, self.search.redact)):
                return None
        return place_of(raw, task_id, "waiting", redact=self.search.redact)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Of the text that is searched."""
        return words_of(self.query.text)

    def _lengths(self, keys: Any) -> list[int]:
        keys = list(keys)
        if not keys:
            return []
        with self.search.broker.reading(), self.search.broker.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.llen(key)
            replies = pipe.execute(raise_on_error=False)
        return [reply if isinstance(reply, int) else 0 for reply in replies]

    def _total(self) -> int:
        broker, states = self.search.broker, self.query.states
        names = [self.query.queue] if self.query.queue else self.search.queue_names()
        total = 0
        if "waiting" in states:
            total += sum(self._lengths(key for name in names for key in broker.lists(name).values()))
        if {"reserved", "scheduled"} & set(states):
            total += bounded_reads.one(broker.client, 0, "HLEN", broker.unacked)
        keys = [broker.keys.held(one.hold, one.step, one.queue) for one, _ in self.held_lists]
        return total + sum(self._lengths(keys)) + len(self.failed_ids)
