"""Failed tasks, as workers have kept them: groups and entries, read with bounds whatever anybody left there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from heapq import merge
from itertools import islice
from typing import Any

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import untrusted
from opsdash.model.failure import COUNTED, KEPT, Failure, FailureGroup, FailurePage, is_failure_id
from opsdash.model.untrusted import Unread
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.bounded_reads import Members
from opsdash.services.broker.client import Broker
from opsdash.services.queues.trash import MEMBERS

MOST_GROUPS = 1_000
"""Groups that are read, those that came last: workers keep no more."""
MOST_FAILURES = 20_000
"""Failures that a look goes through: twice what workers keep by default."""
MOST_HOURS, MOST_NAMES = 168, 21
"""Hours, and queues or workers, of one group."""
LARGE_GROUP = 24 * 1024
"""Bytes of a group that is read: a worker writes up to 18 kB."""
LARGE_MESSAGE = 256 * 1024
"""Bytes of the largest message that is kept with its failure."""
READ = 500
"""Failures that are read at once while a filter looks for some."""
READ_BRIEF = 50
"""The same where only what decides about them is read: 1 ms."""
READ_IDS = 1_000
"""Ids that are read at once: 1 ms."""
LONG_TEXT, LONG_TRACEBACK, LONG_NAME = 1_100, 8_300, 1_000
"""Characters of what is shown, each with room for its ellipsis."""
NOT_AHEAD = bounded_reads.NOT_AHEAD
_MESSAGES = lua.load(__name__, "messages")
_NAMES = (
    "task_id",
    "task",
    "queue",
    "list",
    "exchange",
    "routing_key",
    "error",
    "place",
    "worker",
    "eta",
    "expires",
    "root_id",
    "parent_id",
    "group_id",
    "traceparent",
    "fingerprint",
    "version",
)
_TEXTS = ("message_text", "traceback", "arguments")
_FIGURES = ("at", "first_at", "times", "retries", "priority", "message_bytes")
_MARKS = ("chord", "redelivered", "sendable", "too_large")
FIELDS = ("kind", *_NAMES, *_TEXTS, *_FIGURES, *_MARKS)
"""All of an entry but its message."""
BRIEF = ("kind", *_NAMES, *_FIGURES, *_MARKS)
"""All that decides whether and how it can be sent again: no traceback, no text."""
SHOWN = (*BRIEF, "arguments")
"""All that one line shows of it."""
LINKS = ("at", "task_id", "root_id", "parent_id", "group_id")
"""What it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFilter:
    """All that is given must hold; nothing given means all.

    Attributes:
        task: Name of the task, ``error`` of the exception's type; ``*`` matches any text.
        fingerprint: A group.
        since: Failed last at this time or later.
    """

    task: str = ""
    error: str = ""
    queue: str = ""
    kind: str = ""
    fingerprint: str = ""
    since: datetime | None = None

    def takes_group(self, group: FailureGroup) -> bool:
        """Failures of the group can be meant."""
        return (
            (not self.task or fnmatchcase(group.task, self.task))
            and (not self.error or fnmatchcase(group.error, self.error))
            and (not self.fingerprint or group.fingerprint == self.fingerprint)
            and (not self.kind or group.kind == self.kind)
            and (not self.queue or self.queue in group.queues or "*" in group.queues)
            and (self.since is None or group.last_at >= self.since)
        )

    def takes(self, failure: Failure) -> bool:
        """The failure is meant; its group was looked at before."""
        return not self.queue or failure.queue == self.queue


EVERYTHING = FailureFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """What is needed to send a failed task again.

    Attributes:
        id: The failure's. ``version``: as it was read.
        list: The Redis list it came from, with the key prefix. ``message``: byte for byte as it was there. Empty where
            they are not kept.
    """

    id: str
    version: str
    list: str
    message: bytes


@dataclass(frozen=True, slots=True)
class FailureStore:
    """Reads what workers have kept, or what of that was discarded.

    Attributes:
        trash_id: Reads the failures in this trash, in place of those that are kept: by their ids alone, no groups.
    """

    broker: Broker
    trash_id: str = ""

    def groups(self, where: FailureFilter = EVERYTHING) -> tuple[tuple[FailureGroup, ...], tuple[Unread, ...]]:
        """Failures by task, error and place, those that came last first, and what of them can't be read.

        Cost: two round trips, some 20 ms for 1,000 groups.

        Raises:
            Unavailable: Redis did not answer.
        """
        keys, client = self.broker.keys, self.broker.client
        with self.broker.reading():
            seen = bounded_reads.read_members(client, keys.failed_groups, most=MOST_GROUPS, high=NOT_AHEAD)
            named = [name for name, _ in seen.found if _is_fingerprint(name)]
            with client.pipeline(transaction=False) as pipe:
                for name in named:
                    bounded_reads.ask_hash(pipe, keys.failed_group(name), most_fields=400, most=LARGE_GROUP)
                for name in named:
                    pipe.zcount(keys.failed_group_entries(name), "-inf", "+inf")
                replies = pipe.execute(raise_on_error=False)
        raw = [bounded_reads.hash_of(reply) for reply in replies[: len(named)]]
        kept = [bounded_reads.typed(reply, 0) for reply in replies[len(named) :]]
        found = [_group(*one) for one in zip(named, raw, kept, strict=True)]
        unread = seen.unread("groups of failed tasks", keys.failed_groups)
        bad = [name for name, values, group in zip(named, raw, found, strict=True) if group is None and values != {}]
        bad += [untrusted.words(name) for name, _ in seen.found if not _is_fingerprint(name)]
        if bad:
            unread.append(Unread(what="groups of failed tasks", names=tuple(bad)))
        return tuple(group for group in found if group is not None and where.takes_group(group)), tuple(unread)

    def page(self, where: FailureFilter = EVERYTHING, *, first: int = 1, number: int = 50) -> FailurePage:
        """Failures from one place on, those that came last first.

        Cost: three round trips; with a queue asked for, one for every ``READ`` failures of the groups that can
        have some: up to 0.5 s for 10,000.

        Args:
            first: 1 is the one that came last.

        Raises:
            Unavailable: Redis did not answer.
        """
        ids = self.ids(where)
        if where.queue:
            meant = [failure for failure in self._read(ids) if where.takes(failure)]
            found, total = meant[first - 1 : first - 1 + number], len(meant)
        else:
            found, total = list(self._read(ids[first - 1 : first - 1 + number])), len(ids)
        return FailurePage(failures=tuple(found), total=total, upto=min(total, first - 1 + number))

    def ids(self, where: FailureFilter = EVERYTHING) -> list[str]:
        """Ids of failures that can be meant, those that came last first; of a queue those of groups with some from it.

        Cost: one round trip, with more than a time asked for three; and one for each further ``READ_IDS``.

        Raises:
            Unavailable: Redis did not answer.
        """
        keys, client = self.broker.keys, self.broker.client
        by_group = where.task or where.error or where.queue or where.kind or where.fingerprint
        if by_group:
            groups = [group.fingerprint for group in self.groups(where)[0] if group.kind not in COUNTED]
            sets = [keys.failed_group_entries(name) for name in groups]
        else:
            sets = [self._index]
        low = "-inf" if where.since is None else f"{where.since.timestamp():.3f}"
        with self.broker.reading(), client.pipeline(transaction=False) as pipe:
            for key in sets:
                bounded_reads.ask_members(pipe, key, most=READ_IDS, low=low, high=NOT_AHEAD)
            replies = pipe.execute(raise_on_error=False)
        firsts = [bounded_reads.members(reply) for reply in replies]
        each = [self._members(key, first, low) for key, first in zip(sets, firsts, strict=True)]
        ordered = merge(*each, key=lambda member: -member[1])
        return [failure_id for failure_id, _ in islice(ordered, MOST_FAILURES) if is_failure_id(failure_id)]

    def _members(self, key: str, first: Members, low: str) -> list[tuple[str, float]]:
        """All of a set that are meant, page by page: one read of 10,000 would make other clients wait."""
        found, page, asked, step = dict(first.found), first, READ_IDS, READ_IDS
        while page.found and len(page.found) + page.long >= asked and len(found) < MOST_FAILURES:
            asked, before, high = step, len(found), f"{page.found[-1][1]:.17g}"
            with self.broker.reading():
                page = bounded_reads.read_members(self.broker.client, key, most=asked, low=low, high=high)
            found.update(page.found)
            step = READ_IDS if len(found) > before else asked * 4  # as many have one time as a page has
        return sorted(found.items(), key=lambda member: -member[1])

    def every(self, where: FailureFilter = EVERYTHING) -> Iterator[Failure]:
        """All that are meant, those that came last first. Cost: as `ids`, and a round trip for each ``READ`` of them.

        Raises:
            Unavailable: Redis did not answer.
        """
        return (failure for failure in self._read(self.ids(where)) if where.takes(failure))

    def find(self, failure_id: str, field: str = "ids") -> Failure:
        """One failure. Cost: one round trip.

        Raises:
            Refused: None of that id is kept.
            Unavailable: Redis did not answer.
        """
        found = list(self._read([failure_id])) if is_failure_id(failure_id) else []
        if not found:
            raise Refused(f"No failed task {untrusted.words(failure_id)!r} is kept.", field=field)
        return found[0]

    def brief(self, failure_ids: Sequence[str]) -> Iterator[Failure]:
        """Some failures by id without texts and tracebacks, in the order given; those that are gone are left out.

        Cost: a round trip of about 1 ms for each ``READ_BRIEF`` of them.

        Raises:
            Unavailable: Redis did not answer.
        """
        return self._read([one for one in failure_ids if is_failure_id(one)], BRIEF, READ_BRIEF)

    def shown(self, failure_ids: Sequence[str]) -> Iterator[Failure]:
        """Some failures by id with what one line shows: no traceback, no text of an error; as `brief`.

        Raises:
            Unavailable: Redis did not answer.
        """
        return self._read([one for one in failure_ids if is_failure_id(one)], SHOWN, READ_BRIEF)

    def links(self, failure_ids: Sequence[str]) -> Iterator[Failure]:
        """Some failures by id with what they belong to alone; those that are gone are left out.

        Cost: a round trip of some milliseconds for each ``READ`` of them.

        Raises:
            Unavailable: Redis did not answer.
        """
        return self._read([one for one in failure_ids if is_failure_id(one)], LINKS)

    def some(self, failure_ids: Sequence[str]) -> list[Failure]:
        """Those of these ids that are kept. Cost: one round trip for each ``READ`` of them.

        Raises:
            Unavailable: Redis did not answer.
        """
        return list(self._read([one for one in failure_ids if is_failure_id(one)]))

    def messages(self, failure_ids: Sequence[str]) -> Iterator[KeptMessage]:
        """What is needed to send these again; nothing for those that are gone. Cost: a round trip for each 4 MB.

        Raises:
            Unavailable: Redis did not answer.
        """
        left = [one for one in failure_ids if is_failure_id(one)]
        while left:
            part = left[:READ]
            keys = [self._entry(one) for one in part]
            with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
                arguments = (LARGE_MESSAGE, bounded_reads.MOST_BYTES)
                pipe.execute_command("EVAL", _MESSAGES, len(keys), *keys, *arguments, NEVER_DECODE=True)  # type: ignore[no-untyped-call] # of redis-py
                (replies,) = pipe.execute()
            for one, (version, name, message) in zip(part, replies, strict=False):
                if version:
                    yield KeptMessage(id=one, version=_text(version), list=_text(name), message=message)
            left = left[len(replies) :]

    @property
    def _index(self) -> str:
        keys = self.broker.keys
        return keys.trash(self.trash_id, MEMBERS) if self.trash_id else keys.failed

    def _entry(self, failure_id: str) -> str:
        return f"{self._index}:{failure_id}" if self.trash_id else self.broker.keys.failed_entry(failure_id)

    def _read(self, failure_ids: Sequence[str], names: Sequence[str] = FIELDS, number: int = READ) -> Iterator[Failure]:
        for start in range(0, len(failure_ids), number):
            part = failure_ids[start : start + number]
            keys = [self._entry(one) for one in part]
            with self.broker.reading():
                raws = bounded_reads.fields(self.broker.client, keys, names, LONG_TRACEBACK * 4)
            for one, raw in zip(part, raws, strict=True):
                if (failure := _failure(one, raw)) is not None:
                    yield failure


def _failure(failure_id: str, raw: Mapping[str, str | None]) -> Failure | None:
    """An entry as it was read; None for one that is gone, or does not say when it failed."""
    at = untrusted.instant(raw.get("at"))
    if at is None:
        return None
    given: dict[str, Any] = {name: untrusted.words(raw.get(name), LONG_NAME) for name in _NAMES}
    given |= {mark: raw.get(mark) == "1" for mark in _MARKS}
    kind = raw.get("kind")
    return Failure(
        id=failure_id,
        kind=kind if kind in KEPT else KEPT[0],
        at=at,
        first_at=untrusted.instant(raw.get("first_at")) or at,
        times=untrusted.whole(raw.get("times")) or 1,
        retries=untrusted.whole(raw.get("retries")) or 0,
        priority=untrusted.whole(raw.get("priority")) or 0,
        message_bytes=untrusted.whole(raw.get("message_bytes")) or 0,
        message_text=untrusted.words(raw.get("message_text"), LONG_TEXT),
        traceback=untrusted.words(raw.get("traceback"), LONG_TRACEBACK),
        arguments=untrusted.words(raw.get("arguments"), LONG_TEXT),
        **given,
    )


def _group(fingerprint: str, raw: Mapping[str, str] | None, kept: Any) -> FailureGroup | None:
    if not raw:
        return None
    last_at = untrusted.instant(raw.get("last_at"))
    if last_at is None:
        return None
    kind = raw.get("kind", "")
    hours = {
        when: number
        for name, value in raw.items()
        if name.startswith("at:")
        and (hour := untrusted.whole(name[3:])) is not None
        and (when := untrusted.instant(hour * 3_600)) is not None
        and (number := untrusted.whole(value))
    }
    return FailureGroup(
        fingerprint=fingerprint,
        kind=kind if kind in (*KEPT, *COUNTED) else KEPT[0],
        task=untrusted.words(raw.get("task"), LONG_NAME),
        error=untrusted.words(raw.get("error"), LONG_NAME),
        place=untrusted.words(raw.get("place"), LONG_NAME),
        message_text=untrusted.words(raw.get("message_text"), LONG_TEXT),
        count=untrusted.whole(raw.get("count")) or 0,
        kept=untrusted.whole(kept) or 0,
        not_kept=untrusted.whole(raw.get("not_kept")) or 0,
        first_at=untrusted.instant(raw.get("first_at")) or last_at,
        last_at=last_at,
        queues=_counters(raw, "queue:"),
        workers=_counters(raw, "worker:"),
        hours=dict(sorted(hours.items())[-MOST_HOURS:]),
    )


def _counters(raw: Mapping[str, str], start: str) -> dict[str, int]:
    """Name → count of the fields that begin so, the most first."""
    found = {
        untrusted.words(name.removeprefix(start)): number
        for name, value in raw.items()
        if name.startswith(start) and (number := untrusted.whole(value))
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:MOST_NAMES])


def _is_fingerprint(text: str) -> bool:
    return 0 < len(text) <= 64 and all(char in "0123456789abcdef" for char in text)


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
