"""Reads whose size is known beforehand: what is too large stays in Redis, whoever wrote it.

A value can have 512 MB, a hash or a list any number of them. Asking for lengths first costs a round trip, and the
value may be another one by then: a script asks and reads in one step. Scripts that only read are no act (`writes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from opsdash import foreign
from opsdash.foreign import Unread
from opsdash.services.messages import LARGEST

LARGE_MESSAGE = LARGEST
"""Bytes of a message that is looked into. A larger one is known by its mark, and stays where it is."""
MOST_BYTES = 4 * 1024 * 1024
"""Of messages, or of other values, that one read brings here."""
MARK = b"\0large:"
"""How the mark of a large message begins; no message of Celery's does."""
LONGEST_MEMBER = 1_000
"""Bytes of a hostname or id."""
AHEAD_S = 86_400.0
"""A time that is further in the future than this is nobody's: workers report by Redis's clock."""
NOT_AHEAD = f"now{AHEAD_S:.0f}"
"""That bound, as `ask_members` takes it."""
BATCH = 100
"""Hashes that one script reads."""

# Some fields of each hash. In place of a value above a size: true (a number for Python). KEYS: hashes. ARGV: size,
# fields. One list per hash; a key of another type is an empty one.
_FIELDS = """
local found = {}
local fields = {}
for i = 2, #ARGV do fields[i - 1] = ARGV[i] end
for i, key in ipairs(KEYS) do
  local values = redis.pcall('HMGET', key, unpack(fields))
  if values.err then
    found[i] = {}
  else
    for j, value in ipairs(values) do
      if value and #value > tonumber(ARGV[1]) then values[j] = #value end
    end
    found[i] = values
  end
end
return found
"""
# Whole hashes: nothing of one with too many fields or too large ones, nor of those above a size of all. KEYS: hashes.
# ARGV: most fields, most bytes of each hash, most of all. Returns for each its fields and values by turns, or how large
# it is.
_HASHES = """
local found, all = {}, 0
for i, key in ipairs(KEYS) do
  local number = redis.pcall('HLEN', key)
  if type(number) ~= 'number' then
    found[i] = -1
  elseif number > tonumber(ARGV[1]) then
    found[i] = number
  else
    local parts, size = redis.call('HGETALL', key), 0
    for _, part in ipairs(parts) do size = size + #part end
    if size > tonumber(ARGV[2]) or all + size > tonumber(ARGV[3]) then
      found[i] = size
    else
      found[i], all = parts, all + size
    end
  end
end
return found
"""
# As much of a hash, or of a set, as is asked for: all of it where it has no more. KEYS: it. ARGV: most fields or
# members, most bytes of one. A key of another type is an empty one.
_SOME_FIELDS = """
local cursor, found, looked_at = '0', {}, 0
repeat
  local read = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for i = 1, #read[2], 2 do
    looked_at = looked_at + 1
    if #read[2][i] <= 1000 and #read[2][i + 1] <= tonumber(ARGV[2]) then
      found[#found + 1], found[#found + 2] = read[2][i], read[2][i + 1]
    end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
"""
_SOME_MEMBERS = """
local cursor, found, looked_at = '0', {}, 0
repeat
  local read = redis.pcall('SSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for _, member in ipairs(read[2]) do
    looked_at = looked_at + 1
    if #member <= tonumber(ARGV[2]) then found[#found + 1] = member end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
"""
# Some values of a hash, the empty text in place of a large one. KEYS: hash. ARGV: cursor, about how many, most bytes of
# one and of all.
_SCAN = """
local read = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, size = {}, 0
for i = 2, #read[2], 2 do
  local value = read[2][i]
  size = size + #value
  local fits = #value <= tonumber(ARGV[3]) and size <= tonumber(ARGV[4])
  found[#found + 1] = fits and value or ''
end
return {read[1], found}
"""
# KEYS: stream. ARGV: since when, until when, how many, most bytes of one.
_POINTS = """
local read, found = redis.pcall('XREVRANGE', KEYS[1], ARGV[2], ARGV[1], 'COUNT', ARGV[3] + 1000), {}
if read.err then return {} end
local size = 0
for _, entry in ipairs(read) do
  local name, point = entry[2][1], entry[2][2]
  if name == 'point' and point and #point <= tonumber(ARGV[4]) then
    size = size + #point
    if size > 16000000 then break end
    found[#found + 1] = {entry[1], point}
  end
end
return found
"""
# Members of a sorted set, those with the highest scores first, or with the lowest. KEYS: it. ARGV: highest score
# (``now`` and seconds: by Redis's clock) and lowest, most members, most bytes of one, ``rising`` or nothing. Returns
# how many it has (-1: it is none), how many of those looked at were too long, then members and scores by turns.
_MEMBERS = """
local total = redis.pcall('ZCOUNT', KEYS[1], '-inf', '+inf')
if type(total) ~= 'number' then return {-1, 0} end
local ahead, high = string.match(ARGV[1], '^now(.+)$'), ARGV[1]
if ahead then high = redis.call('TIME')[1] + ahead end
local read
if ARGV[5] == 'rising' then
  read = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], high, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
else
  read = redis.call('ZREVRANGEBYSCORE', KEYS[1], high, ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
end
local found, long = {total, 0}, 0
for i = 1, #read, 2 do
  if #read[i] > tonumber(ARGV[4]) then
    long = long + 1
  else
    found[#found + 1], found[#found + 2] = read[i], read[i + 1]
  end
end
found[2] = long
return found
"""
# How a script calls a message: itself, or its mark: size, beginning and end, which has kombu's delivery tag.
NAMED = """
local function named(message)
  if not message or #message <= LARGE then return message end
  return 'MARK' .. #message .. ':' .. string.sub(message, 1, 500) .. string.sub(message, -1500)
end
local function place_of(key, name, most)
  if string.sub(name, 1, #'MARK') ~= 'MARK' then return redis.call('LPOS', key, name, 'MAXLEN', most) end
  for at = 0, most - 1 do
    local message = redis.call('LINDEX', key, at)
    if not message then return false end
    if named(message) == name then return at end
  end
  return false
end
""".replace("LARGE", str(LARGE_MESSAGE)).replace("MARK", "\\0large:")
# Messages of a list, one by one, until there are enough of them or of their bytes, at least two where there are. A
# large one counts as so much, since whatever is done with it moves it. KEYS: list. ARGV: place, number, step (1, or -1
# from the other end), most bytes, and nothing or a message from which the place counts, looked for among so many.
# Returns whether the list ended, and the messages; nothing when that message is not there.
_MESSAGES = (
    NAMED
    + """
local at, size, found = tonumber(ARGV[1]), 0, {0}
if ARGV[5] ~= '' then
  local from = place_of(KEYS[1], ARGV[5], tonumber(ARGV[6]))
  if not from then return {} end
  at = at + from
end
for i = 1, tonumber(ARGV[2]) do
  local message = redis.call('LINDEX', KEYS[1], at)
  if not message then
    found[1] = 1
    break
  end
  size = size + math.min(#message, LARGE)
  if size > tonumber(ARGV[4]) and i > 2 then break end
  found[i + 1] = named(message)
  at = at + tonumber(ARGV[3])
end
return found
""".replace("LARGE", str(LARGE_MESSAGE))
)


def fields(
    client: Any, keys: Sequence[str], wanted: Sequence[str], most: int = foreign.LARGE
) -> list[dict[str, str | None]]:
    """Some fields of each hash; None in place of a value above ``most`` bytes, and no field at all for a missing one.

    Cost: one round trip, one script for ``BATCH`` of them.
    """
    if not keys:
        return []
    with client.pipeline(transaction=False) as pipe:
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            pipe.eval(_FIELDS, len(part), *part, most, *wanted)
        replies = pipe.execute()
    return [
        {
            name: value if isinstance(value, str) else None
            for name, value in zip(wanted, values, strict=False)
            if value is not None
        }
        for reply in replies
        for values in reply
    ]


def hashes(
    client: Any, keys: Sequence[str], *, most_fields: int = 100, most: int = foreign.LARGE
) -> list[dict[str, str] | None]:
    """Whole hashes; None in place of one that is none, is too large, or is above ``MOST_BYTES`` with those before it.

    Cost: as `fields`.
    """
    if not keys:
        return []
    with client.pipeline(transaction=False) as pipe:
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            pipe.eval(_HASHES, len(part), *part, most_fields, most, MOST_BYTES)
        replies = pipe.execute()
    return [pairs(parts) if isinstance(parts, list) else None for reply in replies for parts in reply]


def ask_field(pipe: Any, key: str, name: str, most: int = 100) -> None:
    """One field of a hash on a pipeline; `field_of` takes the reply."""
    pipe.eval(_FIELDS, 1, key, most, name)


def field_of(reply: Any) -> str:
    """The reply to `ask_field`; empty for what is missing or too large."""
    if isinstance(reply, Exception):
        raise reply
    value = reply[0][0] if reply[0] else None
    return value if isinstance(value, str) else ""


def ask_hash(pipe: Any, key: str, *, most_fields: int = 100, most: int = foreign.LARGE) -> None:
    """One whole hash on a pipeline; `hash_of` takes the reply."""
    pipe.eval(_HASHES, 1, key, most_fields, most, MOST_BYTES)


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
            return [Unread(what=what, names=(f"{key} is no sorted set",))]
        return [Unread(what=what, shown=len(self.found), total=self.total)] if len(self.found) < self.total else []


def ask_members(pipe: Any, key: str, *, most: int, high: str = "+inf", low: str = "-inf", rising: bool = False) -> None:
    """Has the members with scores from ``low`` to ``high`` read on a pipeline; `members` takes the reply.

    Args:
        high: As Redis takes it, or ``now`` and a number of seconds: so far ahead of Redis's clock.
        rising: Those with the lowest scores, the lowest first.
    """
    pipe.eval(_MEMBERS, 1, key, high, low, most, LONGEST_MEMBER, "rising" if rising else "")


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
    return pipe.eval(_SOME_FIELDS, 1, key, number, most)


def ask_set(pipe: Any, key: str, number: int) -> None:
    """A set on a pipeline, or about ``number`` members of a larger one."""
    pipe.eval(_SOME_MEMBERS, 1, key, number, LONGEST_MEMBER)


def set_members(client: Any, key: str, number: int) -> set[str]:
    """The same at once. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        ask_set(pipe, key, number)
        (found,) = pipe.execute()
    return set(map(str, found))


def scan(client: Any, key: str, cursor: int, number: int, most: int) -> tuple[int, list[str]]:
    """Some values of a hash and where to go on; empty in place of one above ``most`` bytes. Cost: one round trip."""
    with client.pipeline(transaction=False) as pipe:
        pipe.eval(_SCAN, 1, key, cursor, number, most, MOST_BYTES)
        ((after, values),) = pipe.execute()
    return int(after), [str(value) for value in values]


def points(client: Any, key: str, since: int, until: int, number: int, most: int) -> list[tuple[str, dict[str, str]]]:
    """The newest entries of a stream between two ids, oldest first, as (id, {"point": text}); large ones are left out.

    Cost: one round trip.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.eval(_POINTS, 1, key, since, until, number, most)
        (read,) = pipe.execute()
    return [(str(entry), {"point": str(point)}) for entry, point in reversed(read)]


def text(client: Any, key: str, most: int = foreign.LARGE) -> str:
    """The first bytes of a string; empty for a key that is none. Cost: one GETRANGE."""
    try:
        return str(client.getrange(key, 0, most - 1))
    except redis.ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return ""


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
    _ask(pipe, key, start, number, step, b"", 0)


def given(reply: Any) -> list[bytes]:
    """The reply to `ask`; nothing of a key of another type."""
    return list(reply[1:]) if isinstance(reply, list) else []


def messages_from(client: Any, key: str, first: bytes, within: int, number: int) -> tuple[list[bytes], bool]:
    """As `messages`, from one of the first ``within`` on, if it is there; with no ``first`` from the beginning.

    Returns:
        At least two where there are two, and whether the list ends with them.
    """
    with client.pipeline(transaction=False) as pipe:
        _ask(pipe, key, 0, number, 1, first, within)
        (reply,) = pipe.execute()
    return given(reply), not reply or reply[0] == 1


def _ask(pipe: Any, key: str, start: int, number: int, step: int, first: bytes, within: int) -> None:
    told = (start, number, step, MOST_BYTES, first, within)
    pipe.execute_command("EVAL", _MESSAGES, 1, key, *told, NEVER_DECODE=True)


def size_of(message: bytes) -> int:
    """Bytes of a message, also of one that is told of by its mark."""
    return int(message[len(MARK) :].partition(b":")[0]) if is_mark(message) else len(message)


def is_mark(message: bytes) -> bool:
    """It stands for a message that was too large to be brought here."""
    return message.startswith(MARK)


def pairs(parts: Sequence[str]) -> dict[str, str]:
    """Fields and values by turns, as Redis gives a hash."""
    each: Iterator[str] = iter(parts)
    return dict(zip(each, each, strict=True))
