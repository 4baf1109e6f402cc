"""Reads with a limited size: a value that is too large stays in Redis.

A value can have 512 MB, a hash or a list any number of them. Asking for lengths first costs a round trip, and the
value may be another one by then: a script asks and reads in one step. Scripts that only read are no act (`writes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from opsdash.model import untrusted
from opsdash.model.untrusted import Unread
from opsdash.services.broker import bounded_scripts as scripts

LARGE_MESSAGE = scripts.LARGE_MESSAGE
MOST_BYTES = 4 * 1024 * 1024
"""Of messages, or of other values, that one read brings here."""
MARK = b"\0large:"
"""The start of the mark of a large message; no Celery message begins like it, and a foreign one gets its own mark."""
LONGEST_MEMBER = 1_000
"""Bytes of a hostname or id."""
AHEAD_S = 86_400.0
"""A time that is further in the future than this is nobody's: workers report by Redis's clock."""
NOT_AHEAD = f"now{AHEAD_S:.0f}"
"""That bound, as `ask_members` takes it."""
BATCH = 100
"""Hashes that one script reads."""

MARKS = scripts.MARKS
"""How a script calls a message: itself, or its mark."""


def typed(reply: Any, default: Any) -> Any:
    """A pipeline's reply, or the default for a key of another type; other faults are raised."""
    if not isinstance(reply, redis.RedisError):
        return reply
    if not str(reply).startswith("WRONGTYPE"):
        raise reply
    return default


def one(client: Any, default: Any, *command: Any) -> Any:
    """The reply to one command, or the default for a key of another type. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        pipe.execute_command(*command)
        (reply,) = pipe.execute(raise_on_error=False)
    return typed(reply, default)


def fields(
    client: Any, keys: Sequence[str], names: Sequence[str], most: int = untrusted.LARGE
) -> list[dict[str, str | None]]:
    """Some fields of each hash; None in place of a value above ``most`` bytes, and no field at all for a missing one.

    Cost: one round trip, one script for ``BATCH`` of them.
    """
    if not keys:
        return []
    with client.pipeline(transaction=False) as pipe:
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            pipe.eval(scripts.FIELDS, len(part), *part, most, *names)
        replies = pipe.execute()
    return [
        {
            name: value if isinstance(value, str) else None
            for name, value in zip(names, values, strict=False)
            if value is not None
        }
        for reply in replies
        for values in reply
    ]


def hashes(
    client: Any, keys: Sequence[str], *, most_fields: int = 100, most: int = untrusted.LARGE
) -> list[dict[str, str] | None]:
    """Whole hashes; None in place of one that is none, is too large, or is above ``MOST_BYTES`` with those before it.

    Cost: as `fields`.
    """
    if not keys:
        return []
    with client.pipeline(transaction=False) as pipe:
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            pipe.eval(scripts.HASHES, len(part), *part, most_fields, most, MOST_BYTES)
        replies = pipe.execute()
    return [pairs(parts) if isinstance(parts, list) else None for reply in replies for parts in reply]


def ask_field(pipe: Any, key: str, name: str, most: int = 100) -> None:
    """One field of a hash on a pipeline; `field_of` takes the reply."""
    pipe.eval(scripts.FIELDS, 1, key, most, name)


def field_of(reply: Any) -> str:
    """The reply to `ask_field`; empty for what is missing or too large."""
    if isinstance(reply, Exception):
        raise reply
    value = reply[0][0] if reply[0] else None
    return value if isinstance(value, str) else ""


def ask_hash(pipe: Any, key: str, *, most_fields: int = 100, most: int = untrusted.LARGE) -> None:
    """One whole hash on a pipeline; `hash_of` takes the reply."""
    pipe.eval(scripts.HASHES, 1, key, most_fields, most, MOST_BYTES)


def hash_of(reply: Any) -> dict[str, str] | None:
    """The reply to `ask_hash`; None for what is too large, or none."""
    if isinstance(reply, Exception):
        raise reply
    return pairs(reply[0]) if isinstance(reply[0], list) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Some of a sorted set.

    Attributes:
        found: Members and scores, the highest score first, or the lowest where that was asked.
        total: How many it has; None when the key is another one's value.
        long: Members that were left out because nothing of opsdash's is so long.
    """

    found: tuple[tuple[str, float], ...] = ()
    total: int | None = 0
    long: int = 0

    def unread(self, what: str, key: str) -> list[Unread]:
        """What of it is not shown."""
        if self.total is None:
            return [Unread(what=what, names=(f"{key} is not a sorted set",))]
        return [Unread(what=what, shown=len(self.found), total=self.total)] if len(self.found) < self.total else []


def ask_members(pipe: Any, key: str, *, most: int, high: str = "+inf", low: str = "-inf", rising: bool = False) -> None:
    """Has the members with scores from ``low`` to ``high`` read on a pipeline; `members` takes the reply.

    Args:
        high: As Redis takes it, or ``now`` and a number of seconds: so far ahead of Redis's clock.
        rising: Those with the lowest scores, the lowest first.
    """
    pipe.eval(scripts.MEMBERS, 1, key, high, low, most, LONGEST_MEMBER, "rising" if rising else "")


def members(reply: Any) -> Members:
    """The reply to `ask_members`."""
    if isinstance(reply, Exception):
        raise reply
    total, long, *parts = reply
    if total < 0:
        return Members(total=None)
    scores = (float(score) for score in parts[1::2])
    return Members(found=tuple(zip(map(str, parts[::2]), scores, strict=True)), total=total, long=long)


def read_members(
    client: Any, key: str, *, most: int, high: str = "+inf", low: str = "-inf", rising: bool = False
) -> Members:
    """Both at once. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        ask_members(pipe, key, most=most, high=high, low=low, rising=rising)
        (reply,) = pipe.execute(raise_on_error=False)
    return members(reply)


def some_fields(client: Any, key: str, number: int, most: int) -> dict[str, str]:
    """A hash, or about ``number`` fields of a larger one; without values above ``most`` bytes. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        ask_some_fields(pipe, key, number, most)
        (parts,) = pipe.execute()
    return pairs(parts)


def ask_some_fields(pipe: Any, key: str, number: int, most: int) -> Any:
    """The same on a pipeline; `pairs` takes the reply, which is given at once by one that watches."""
    return pipe.eval(scripts.SOME_FIELDS, 1, key, number, most)


def ask_set(pipe: Any, key: str, number: int, *, separator: str = "") -> None:
    """A set on a pipeline, or about ``number`` members of a larger one; without those that are too long.

    Args:
        separator: In place of each of those come, as a list, the size in bytes and the start of its third part.
    """
    pipe.eval(scripts.SOME_MEMBERS, 1, key, number, LONGEST_MEMBER, separator)


def set_members(client: Any, key: str, number: int) -> set[str]:
    """The same at once. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        ask_set(pipe, key, number)
        (found,) = pipe.execute()
    return set(map(str, found))


def scan(client: Any, key: str, cursor: int, number: int, most: int) -> tuple[int, list[str]]:
    """Some values of a hash and where to go on; empty in place of one above ``most`` bytes. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        pipe.eval(scripts.SCAN, 1, key, cursor, number, most, MOST_BYTES)
        ((after, values),) = pipe.execute()
    return int(after), [str(value) for value in values]


def ask_names(pipe: Any, key: str, number: int) -> None:
    """The names of a hash on a pipeline; none where it has more than ``number``."""
    pipe.eval(scripts.NAMES, 1, key, number, LONGEST_MEMBER)


def scan_names(client: Any, key: str, cursor: int, number: int) -> tuple[int, list[str]]:
    """Some names of a hash and where to go on; without those that are too long. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        pipe.eval(scripts.SCAN_NAMES, 1, key, cursor, number, LONGEST_MEMBER)
        ((after, names),) = pipe.execute()
    return int(after), [str(name) for name in names]


def all_keys(client: Any, pattern: str, number: int = 1_000) -> Iterator[str]:
    """The server's keys by a pattern, without those that are too long. Cost: a round trip per ``number`` of all."""
    cursor: int | None = None
    while cursor != 0:
        with client.pipeline(transaction=False) as pipe:
            pipe.eval(scripts.SCAN_KEYS, 0, cursor or 0, pattern, number, LONGEST_MEMBER)
            ((after, keys),) = pipe.execute()
        yield from map(str, keys)
        cursor = int(after)


def ask_channels(pipe: Any, pattern: str, number: int) -> None:
    """Channels that have a subscriber, on a pipeline; ``number`` of them at most."""
    pipe.eval(scripts.CHANNELS, 0, pattern, number, LONGEST_MEMBER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A string, and what a hash notes of it.

    Attributes:
        note: Empty where there is none.
        text: None where there is no string. ``size``: its bytes, where it is too large; then ``text`` is empty.
    """

    name: str
    note: str
    text: str | None
    size: int | None = None


def noted(
    client: Any, key: str, named: Sequence[tuple[str, str, int | None]], *, most: int, step: int = 1_000
) -> Iterator[Noted]:
    """Strings with what a hash notes of each, both at one time.

    Args:
        key: The hash. ``named``: field, key of the string, and how many bytes it should have, where that is known.
        most: Bytes of one string that should have another size, ``MOST_BYTES`` or less; so many of them come at once.
        step: Strings of one script; all are asked for together.

    Cost: one round trip, more only where their bytes are many.
    """
    waiting = list(named)
    while waiting:
        steps = [waiting[at : at + step] for at in range(0, len(waiting), step)]
        with client.pipeline(transaction=False) as pipe:
            for asked in steps:
                keys = [key, *(one for _, one, _ in asked)]
                arguments = [part for field, _, size in asked for part in (field, "" if size is None else size)]
                pipe.eval(scripts.NOTED, len(keys), *keys, max(most, MOST_BYTES // len(steps)), most, *arguments)
            parts = [part for found in pipe.execute() for part in found]
        later = []
        for one, note, text in zip(waiting, parts[::2], parts[1::2], strict=True):
            if text == -1:
                later.append(one)
            elif isinstance(text, int):
                yield Noted(name=one[0], note=str(note), text="", size=text)
            else:
                yield Noted(name=one[0], note=str(note), text=text)
        waiting = later


def points(client: Any, key: str, since: int, until: int, number: int, most: int) -> list[tuple[str, dict[str, str]]]:
    """The newest entries of a stream between two ids, oldest first, as (id, {"point": text}); large ones are left out.

    Cost: one round trip.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.eval(scripts.POINTS, 1, key, since, until, number, most)
        (read,) = pipe.execute()
    return [(str(entry), {"point": str(point)}) for entry, point in reversed(read)]


def text(client: Any, key: str, most: int = untrusted.LARGE) -> str:
    """The first bytes of a string; empty for a key that is none. Cost: one GETRANGE."""
    return str(one(client, "", "GETRANGE", key, 0, most - 1))


def messages(client: Any, key: str, start: int, number: int, *, step: int = 1) -> list[bytes]:
    """Messages from a place of a list on; fewer where their bytes together would be too many: ask again from there.

    A large one is its mark. Cost: one round trip, at most ``MOST_BYTES``.
    """
    with client.pipeline(transaction=False) as pipe:
        ask(pipe, key, start, number, step=step)
        (reply,) = pipe.execute()
    return given(reply)


def ask(pipe: Any, key: str, start: int, number: int, *, step: int = 1) -> None:
    """The same on a pipeline; `given` takes the reply."""
    arguments = (start, number, step, MOST_BYTES)
    pipe.execute_command("EVAL", scripts.MESSAGES, 1, key, *arguments, NEVER_DECODE=True)


def given(reply: Any) -> list[bytes]:
    """The reply to `ask`; nothing of a key of another type."""
    return list(reply[1:]) if isinstance(reply, list) else []


def size_of(message: bytes) -> int:
    """Bytes of a message, also of one that is represented by its mark."""
    return int(message[len(MARK) :].partition(b":")[0]) if is_mark(message) else len(message)


def is_mark(message: bytes) -> bool:
    """It represents a message that was too large to fetch."""
    return message.startswith(MARK)


def pairs(parts: Sequence[str]) -> dict[str, str]:
    """Alternating fields and values, as Redis returns a hash."""
    each: Iterator[str] = iter(parts)
    return dict(zip(each, each, strict=True))
