"""Searching tasks by name and by a text as an operator may see it, a page at a time: what runs, is fetched, and waits.

Only what may be shown is searched: a search in what is hidden would tell it. A queue is gone through from its newest
message on, so that none is missed that waits all the while.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from opsdash.errors import Invalid, Unavailable
from opsdash.model import TaskPage, TaskPlace, untrusted
from opsdash.redaction import HIDDEN, masked
from opsdash.redaction.arguments import SEARCHED as SEARCHED_ARGUMENTS
from opsdash.redaction.arguments import shown_body
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import decoded, envelope, task_name
from opsdash.services.queues import scan
from opsdash.services.queues.peek import LARGE
from opsdash.services.queues.task_message import entry_of, id_of, is_later, place_of
from opsdash.services.queues.watermark import digest
from opsdash.services.workers.task_holders import Answers, TaskHolders

SearchState = Literal["active", "reserved", "scheduled", "waiting"]
SEARCHED: tuple[SearchState, ...] = ("active", "reserved", "scheduled", "waiting")
LOOK_S = 1.0
"""Of one page: then it ends where it is, and the next one begins there."""
MOST_PAGE = 200
"""Tasks of one page."""
_WORD = re.compile(r"[a-z0-9]+")
_EXPONENT = re.compile(r"[0-9]e[0-9+-]")
_SAID = f"{HIDDEN} null true false nan infinity".lower()
_RUNNING, _FETCHED, _WAITING = "running", "fetched", "waiting"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a search goes on.

    Attributes:
        stage: ``running``, ``fetched`` or ``waiting``.
        queue: The queue and ``step`` it is at. ``at``: its place there, or the scan's cursor.
        seen: Digest of the message before that place.
    """

    stage: str = _RUNNING
    queue: str = ""
    step: int = 0
    at: int = 0
    seen: str = ""

    @property
    def text(self) -> str:
        """For the next request."""
        parts = [self.stage, self.queue, self.step, self.at, self.seen]
        return base64.urlsafe_b64encode(json.dumps(parts, ensure_ascii=False).encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Cursor:
        """As it was given.

        Raises:
            Invalid: It is none.
        """
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (ValueError, binascii.Error) as error:
            raise Invalid("this is not where a page of tasks ended.", field="after") from error
        parts = untrusted.parsed(raw, 2_000)
        kinds = (str, str, int, int, str)
        if not isinstance(parts, list) or list(map(type, parts)) != list(kinds) or not 0 <= parts[3] < 2**63:
            raise Invalid("this is not where a page of tasks ended.", field="after")
        return cls(stage=parts[0], queue=parts[1], step=parts[2], at=parts[3], seen=parts[4])


@dataclass(frozen=True, slots=True)
class TaskSearch:
    """Searches the tasks of a deployment, page by page. Memory: one page, and one step of a list.

    Attributes:
        queue_names: Every queue that is known now.
        redact: Regular expression: arguments that it finds are hidden as well; empty: none.
    """

    broker: Broker
    holders: TaskHolders
    queue_names: Callable[[], Sequence[str]]
    redact: str = ""

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
        if at.stage not in (_RUNNING, _FETCHED, _WAITING):
            raise Invalid("this is not where a page of tasks ended.", field="after")
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
        if at.stage == _RUNNING:
            if "active" in self.query.states:
                self._running()
            at = Cursor(stage=_FETCHED)
            yield at
        if at.stage == _FETCHED:
            if {"reserved", "scheduled"} & set(self.query.states):
                yield from self._fetched(at.at)
            at = Cursor(stage=_WAITING)
            yield at
        if "waiting" in self.query.states:
            yield from self._queues(at)
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
            yield Cursor(stage=_FETCHED, at=cursor)

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
                here = at if (name, step) == (at.queue, at.step) else Cursor(stage=_WAITING)
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
                    yield Cursor(stage=_WAITING, queue=queue, step=step, at=index + 1, seen=digest(raw))
            last = window.start + len(window.messages)
            yield Cursor(stage=_WAITING, queue=queue, step=step, at=last, seen=digest(window.messages[-1]))

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
            if not self.query.takes_text(_searched(message, self.search.redact)):
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
        return total


def may_hold(message: Mapping[str, Any], words: Sequence[str]) -> bool:
    """Whether the arguments may hold these words, by their JSON as it was sent: a tenth of the cost of redacting them.

    What is shown of an argument is in its JSON, but for what is said in place of it and for numbers that may be written
    in several ways. Where that can't be excluded the answer is yes.
    """
    raw = message.get("body")
    try:
        if untrusted.mapping(message.get("properties")).get("body_encoding") == "base64":
            raw = base64.b64decode(raw or "").decode("ascii")
    except (ValueError, TypeError):
        return True
    if not isinstance(raw, str) or len(raw) > SEARCHED_ARGUMENTS.long or not raw.isascii():
        return True
    lowered = raw.lower()
    if "\\u" in lowered or _EXPONENT.search(lowered):
        return True
    return all(word in lowered or word in _SAID for word in words)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text that must be in the JSON of arguments that hold it; none where that can't be said."""
    return tuple(_WORD.findall(text.lower())) if text.isascii() else ()


def _searched(message: dict[str, Any], redact: str) -> str:
    """The arguments of a message as they may be searched: what looks secret is hidden, the rest is there in full."""
    body = decoded(message)
    return "" if body is None else shown_body(body, redact, SEARCHED_ARGUMENTS)
