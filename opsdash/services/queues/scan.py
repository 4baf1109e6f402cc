"""Going through long lists in Redis, window by window, while others push and pop.

Producers push at a list's beginning, workers take from its end. So a list is gone through from its newest message on:
what is pushed meanwhile moves the others further back, where they are still to be seen, and what is taken moves none. A
message that waits all the while is never missed. Only those that take from the beginning could hide one: clears of
opsdash, which hold the queue's lock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsdash import lua
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import LARGEST, LONGEST_NAME
from opsdash.services.queues.lock import STEP_S
from opsdash.services.queues.watermark import digest

WINDOW_BYTES = 1_000_000
"""Of messages that one step goes through, at most."""
MESSAGE_BYTES = 256
"""What a message costs beside its bytes, as if it were so many more."""
FIRST, LARGEST_WINDOW = 100, 4_000
"""Messages of the first step, and of the largest one. A step is twice the one before at most."""
FETCHED = 500
"""Fetched messages of one step, about."""
LAST_BYTES = 64_000
"""Of messages that are sent along with names, to tell how old they are."""
MOST_HITS = 50
"""Matches that one step returns."""

_IDS = lua.load(__name__, "scan_ids", MOST=MOST_HITS, **bounded_reads.MARKS)
_MESSAGES = lua.load(__name__, "scan_messages", **bounded_reads.MARKS)
_FETCHED = lua.load(__name__, "scan_fetched")
_NAMES = lua.load(__name__, "scan_names", LONGEST=LONGEST_NAME, **bounded_reads.MARKS)
_FETCHED_TEXTS = lua.load(__name__, "scan_fetched_texts")
_TEXTS = lua.load(__name__, "scan_texts", **bounded_reads.MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A message that matched.

    Attributes:
        index: Its place from the list's newest message on, from 0, when it was seen.
        message: It, or the mark of a large one.
        lengths: The lengths of all lists of its queue at that moment.
    """

    index: int
    message: bytes
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One step through a list.

    Attributes:
        start: Place of its first message. ``looked_at``: how many messages it had; 0: the list has ended.
        hits: What matched. ``messages``: all of them, where all were asked for.
        length: The list's length at that moment; None: the key is no list.
    """

    start: int
    looked_at: int
    hits: tuple[Hit, ...] = ()
    messages: tuple[bytes, ...] = ()
    length: int | None = 0


class WindowSize:
    """How many messages the next window has: as many as take ``STEP_S`` of Redis, going by those before.

    They weigh ``WINDOW_BYTES`` at most. Redis walks to a window from the list's nearer end: some 3 ms to the middle of
    a million messages of 0.9 kB, 50 ns for each node of 8 kB. Where the way alone takes ``STEP_S`` or more, the window
    takes half as long again, not less: it would be walked more often.
    """

    def __init__(self, most_bytes: int = WINDOW_BYTES, first: int | None = None) -> None:
        self.messages, self._most_bytes = FIRST if first is None else first, most_bytes
        self._byte_s = math.inf  # of the quickest, which was near an end

    def learn(self, looked_at: int, size_bytes: int, took_s: float = 0.0) -> None:
        """From what the last one had, and how long Redis needed for it."""
        if not looked_at:
            return
        cost = size_bytes + MESSAGE_BYTES * looked_at
        self._byte_s = max(1e-12, min(self._byte_s, took_s / cost))
        way_s = max(0.0, took_s - self._byte_s * cost)
        room_s = max(STEP_S - way_s, way_s / 2)
        fits = min(self._most_bytes / max(1, size_bytes), room_s / (self._byte_s * cost)) * looked_at
        self.messages = max(1, int(min(2 * self.messages, fits, LARGEST_WINDOW)))


def find(broker: Broker, key: str, lists: Sequence[str], texts: Sequence[str], start: int = 0) -> Iterator[Window]:
    """Looks for messages with one of these texts as their id, or as its beginning. Redis sends only those.

    Cost: a round trip and some milliseconds of Redis for each ``WINDOW_BYTES``; a large message costs what it weighs.

    Args:
        lists: All lists of the queue, this one too: their lengths say which place a message has.
        texts: As JSON has them. ``start``: where to begin.

    Raises:
        Unavailable: Redis did not answer.
    """
    size = WindowSize()
    while True:
        with broker.reading(), writes.clock() as clock:
            reply = _raw(broker, _IDS, [key, *lists], start, size.messages, *texts)
        looked_at, size_bytes, lengths, *found = reply
        if size_bytes < 0:
            yield Window(start=start, looked_at=0, length=None)
            return
        sizes = tuple(map(int, lengths))
        hits = tuple(
            Hit(index=int(index), message=bytes(message), lengths=sizes)
            for index, message in zip(found[::2], found[1::2], strict=True)
        )
        if len(hits) == MOST_HITS:  # there may be more of them behind the last one
            looked_at = hits[-1].index + 1 - start
        yield Window(start=start, looked_at=looked_at, hits=hits)
        start += looked_at
        if not looked_at or start >= sizes[lists.index(key)]:
            return
        size.learn(looked_at, size_bytes, clock.s)


def windows(broker: Broker, key: str, start: int = 0, seen: str = "") -> Iterator[Window]:
    """All messages of a list from a place on, the newest first.

    What was pushed since the last step is not shown a second time; where that is not certain it may be.

    Cost: as `find`, and their bytes; 4 MB of one step at most.

    Args:
        seen: Digest of the message before ``start``, when it was seen: those up to where it is now are left out.

    Raises:
        Unavailable: Redis did not answer.
    """
    size = WindowSize()
    while True:
        first = max(0, start - 1) if seen else start
        with broker.reading(), writes.clock() as clock:
            reply = _raw(broker, _MESSAGES, [key], first, size.messages + (start - first), bounded_reads.MOST_BYTES, "")
        looked_at, size_bytes, length, *found = reply
        if size_bytes < 0:
            yield Window(start=start, looked_at=0, length=None)
            return
        messages = tuple(map(bytes, found))
        # Not there: it was taken, or many were pushed. Rather twice than never.
        again = next((at for at, one in enumerate(messages, 1) if digest(one) == seen), 0) if seen else 0
        yield Window(
            start=first + again, looked_at=max(0, looked_at - again), messages=messages[again:], length=int(length)
        )
        if first + looked_at >= length or not looked_at:
            return
        size.learn(looked_at, size_bytes, clock.s)
        start, seen = first + looked_at, digest(messages[-1])


def window(broker: Broker, key: str, start: int, size: WindowSize, most: int, *, from_end: bool = False) -> list[bytes]:
    """Messages from a place on, as many as ``size`` says, which learns from them; nothing of what is no list.

    Fewer where their bytes together would be too many.

    Args:
        from_end: 0 is the last one, and they come in this order.

    Cost: one round trip, which walks to the place once.

    Raises:
        Unavailable: Redis did not answer.
    """
    with broker.reading(), writes.clock() as clock:
        number = min(size.messages, most)
        first = -start - number if from_end else start
        reply = _raw(broker, _MESSAGES, [key], first, number, bounded_reads.MOST_BYTES, "back" if from_end else "")
    _, size_bytes, _, *found = reply
    size.learn(len(found), max(0, int(size_bytes)), clock.s)
    return list(map(bytes, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of a window's tasks.

    Attributes:
        looked_at: How many messages it had; 0: the list has ended, or is none.
        size_bytes: What they weigh.
        by_name: Name → how many, of messages as Celery writes them.
        last: The last message, and the last one of each name while they are few bytes: the oldest, as a rule.
        closer: Those that say their name in another way.
    """

    looked_at: int = 0
    size_bytes: int = 0
    by_name: Mapping[bytes, int] = field(default_factory=dict)
    last: Sequence[bytes] = ()
    closer: Sequence[bytes] = ()


def names(broker: Broker, key: str, start: int, number: int, size: WindowSize | None = None) -> Names:
    """The names of the tasks of a window.

    Cost: one round trip, and 0.8 µs of Redis for each; few of their messages are sent.

    Args:
        size: Says how many, if that is fewer, and learns from them.

    Raises:
        Unavailable: Redis did not answer.
    """
    number = number if size is None else min(number, size.messages)
    with broker.reading(), writes.clock() as clock:
        looked_at, bytes_, kinds, lasts, *found = _raw(
            broker, _NAMES, [key], start, number, bounded_reads.MOST_BYTES, LAST_BYTES
        )
    if size is not None:
        size.learn(looked_at, max(0, bytes_), clock.s)
    if not looked_at:
        return Names()
    counted, rest = found[: 2 * kinds], found[2 * kinds :]
    by_name = dict(zip(counted[::2], counted[1::2], strict=True))
    return Names(looked_at=looked_at, size_bytes=bytes_, by_name=by_name, last=rest[:lasts], closer=rest[lasts:])


def holding(broker: Broker, key: str, texts: Sequence[str]) -> Iterator[Window]:
    """Looks for messages that hold one of these texts anywhere; Redis sends only those. ``lengths`` of a hit are empty.

    Cost: as `find`, and the bytes of what matches; 4 MB of one step at most.

    Raises:
        Unavailable: Redis did not answer.
    """
    size, start = WindowSize(), 0
    while True:
        window = holding_step(broker, key, texts, start, size)
        yield window
        start += window.looked_at
        if not window.looked_at or start >= (window.length or 0):
            return


def holding_step(
    broker: Broker,
    key: str,
    texts: Sequence[str],
    start: int,
    size: WindowSize,
    *,
    most: int = LARGEST_WINDOW,
    first: bytes = b"",
    within: int = 0,
) -> Window:
    """One step of `holding`, for those that take messages out meanwhile.

    Args:
        size: How many messages, ``most`` at most; it learns from them.
        first: A message, or its mark, among the first ``within``: places count from it; where it is not, nothing is
            looked at.

    Raises:
        Unavailable: Redis did not answer.
    """
    number = min(size.messages, most)
    with broker.reading(), writes.clock() as clock:
        reply = _raw(broker, _TEXTS, [key], start, number, bounded_reads.MOST_BYTES, first, within, *texts)
    looked_at, size_bytes, length, *found = reply
    if size_bytes < 0:
        return Window(start=start, looked_at=0, length=None)
    size.learn(looked_at, size_bytes, clock.s)
    hits = tuple(
        Hit(index=int(index), message=bytes(message), lengths=())
        for index, message in zip(found[::2], found[1::2], strict=True)
    )
    return Window(start=start, looked_at=looked_at, hits=hits, length=int(length))


def fetched(
    broker: Broker, cursor: int, texts: Sequence[str] = (), *, anywhere: bool = False
) -> tuple[int, int, bool, list[bytes]]:
    """Some of what workers have fetched and not acknowledged; what stays fetched all the while is never missed.

    Args:
        texts: One of them is the task's id, or its beginning; ``anywhere``: the message holds one of them.

    Returns:
        Where to go on (0: nowhere), how many were looked at, whether all that matched are there (no large one was left
        out), and kombu's entries for those that match.

    Raises:
        Unavailable: Redis did not answer.
    """
    with broker.reading():
        script = _FETCHED_TEXTS if anywhere else _FETCHED
        reply = _raw(broker, script, [broker.unacked], cursor, FETCHED, LARGEST, *texts)
    after, looked_at, large, *found = reply
    return int(after), int(looked_at), not large, [bytes(one) for one in found]


def _raw(broker: Broker, script: str, keys: Sequence[str], *arguments: Any) -> list[Any]:
    """A script's reply, whose messages stay bytes. On a pipeline: such scripts only read."""
    pipe: Any
    with broker.client.pipeline(transaction=False) as pipe:
        pipe.execute_command("EVAL", script, len(keys), *keys, *arguments, NEVER_DECODE=True)
        found: list[Any] = writes.run(pipe)
    return found
