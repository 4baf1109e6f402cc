"""Whether an operation may have changed something, by its commands, so that an error can say it.

Redis's refusal of a command (no right to it, a replica, no memory, unknown …) means that the command did nothing. An
answer, or none after it was sent, means that it may have. The same holds for the commands inside a script.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import redis
from redis.client import Pipeline

from opsdash import lua
from opsdash.errors import LOOK_FIRST, OpsdashError, Uncertain, sentences

HALFDONE = "HALFDONE"
"""How the error of a script begins that had changed something before."""

READS = frozenset((
    "ACL", "CLIENT", "DBSIZE", "ECHO", "EXISTS", "GET", "GETRANGE", "HELLO", "HEXISTS", "HGET", "HGETALL", "HKEYS",
    "HLEN", "HMGET", "HSCAN", "HSTRLEN", "INFO", "LINDEX", "LLEN", "LPOS", "LRANGE", "MEMORY", "MGET", "PING",
    "PTTL", "PUBSUB", "ROLE", "SCAN", "SELECT", "SISMEMBER", "SMEMBERS", "SSCAN", "STRLEN", "TIME", "TTL", "TYPE",
    "UNWATCH",
    "WATCH", "XLEN", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE",
    "ZREVRANGEBYSCORE", "ZSCORE",
))  # fmt: skip
"""Commands that change nothing. Whatever is not among them may have."""

_REFUSALS = (redis.ResponseError, redis.AuthenticationError, redis.BusyLoadingError)
"""Answers that say: not done."""

# Around a script: it notes whether one of its commands has changed something. Its answer includes that, and its
# error says so. That it renewed its lease (the first key) does not count, nor what took nothing away.
_REPORTING = """
local real, changed, reads = redis, 0, {%s}
local takes = {DEL=1, HDEL=1, PERSIST=1, UNLINK=1, XDEL=1, ZREM=1}
local function done(reply, name, key)
  name = string.upper(name)
  local nothing = takes[name] and reply == 0 or name == 'PEXPIRE' and key == KEYS[1]
  if not reads[name] and not nothing then changed = 1 end
  return reply
end
local redis = setmetatable({
  call = function(...)
    if changed == 1 then return real.call(...) end -- nothing more to note: a step calls it for each of its messages
    return done(real.call(...), ...)
  end,
  pcall = function(...)
    local reply = real.pcall(...)
    if type(reply) == 'table' and reply.err then return reply end
    return done(reply, ...)
  end,
}, {__index = real})
local worked, answer = pcall(function()
%s
end)
if worked then return {changed, answer} end
local why = string.gsub(type(answer) == 'table' and answer.err or tostring(answer), '^@?user_script: ?%%d+: ', '')
return real.error_reply((changed == 1 and '%s ' or '') .. string.gsub(why, '^%%-', ''))
"""
_PUT = lua.load(__name__, "writes_put")
_DROP = lua.load(__name__, "writes_drop")
_BEGINS = _REPORTING[: _REPORTING.index("{")]
_CALLED = re.compile(r"redis\.p?call\((?:'(\w+)')?")


class Writes:
    """What is known of one act's commands.

    Attributes:
        possible: One of them may have changed something.
    """

    def __init__(self) -> None:
        self.possible = False


class Clock:
    """How long Redis has needed.

    Attributes:
        s: Seconds of its scripts, by its own clock: the way there and back is not in it.
    """

    def __init__(self) -> None:
        self.s = 0.0


_watched: ContextVar[Writes | None] = ContextVar("opsdash_writes", default=None)
_clock: ContextVar[Clock | None] = ContextVar("opsdash_clock", default=None)


@contextmanager
def watching() -> Iterator[Writes]:
    """While this lasts, the commands that this thread sends are an act's."""
    writes = Writes()
    token = _watched.set(writes)
    try:
        yield writes
    finally:
        _watched.reset(token)


@contextmanager
def aside() -> Iterator[None]:
    """Commands that are not the act itself: reads, and bookkeeping that ends by itself, such as a lease."""
    token = _watched.set(None)
    try:
        yield
    finally:
        _watched.reset(token)


@contextmanager
def clock() -> Iterator[Clock]:
    """While this lasts, the scripts that this thread sends by `Client.eval` are timed, and those by `run`."""
    made = Clock()
    token = _clock.set(made)
    try:
        yield made
    finally:
        _clock.reset(token)


def run(pipe: Any) -> Any:
    """Runs a plain pipeline of one script, between two looks at Redis's clock: within a script it is always the same.

    Redis runs what has come from one client without a look at the others. Cost: no more round trips than the script.
    """
    running = _clock.get()
    if running is None:
        return pipe.execute()[0]
    stack = pipe.command_stack
    pipe.command_stack = []
    pipe.time()
    pipe.command_stack += stack
    pipe.time()
    began, reply, ended = pipe.execute()
    running.s += ended[0] - began[0] + (ended[1] - began[1]) / 1e6
    return reply


def possible() -> bool:
    """Whether the act under way may have changed something; also where nobody watches."""
    writes = _watched.get()
    return writes is None or writes.possible


def taken_back() -> None:
    """What the act under way has written is gone again, and nobody has acted upon it."""
    if (writes := _watched.get()) is not None:
        writes.possible = False


@contextmanager
def counted_command() -> Iterator[None]:
    """Around a command that changes something: unless it is refused, it may have."""
    try:
        yield
    except _REFUSALS:
        raise
    except BaseException:
        _note()
        raise
    _note()


class Client(redis.Redis):
    """redis-py's client, whose commands are noted."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's."""
        if _reads(args[0]):
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        with counted_command():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """As redis-py's; the error of a script that had changed something before it begins with ``HALFDONE``."""
        with self.pipeline(transaction=False) as pipe:
            pipe.eval(script, numkeys, *keys_and_args)
            return run(pipe)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """As redis-py's."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        return super().eval(reporting(script), numkeys, *keys_and_args)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack = self.command_stack
        commands = [args for args, _options in stack]
        try:
            replies = super().execute(raise_on_error=False)
        except redis.OutOfMemoryError:  # of a transaction: a full Redis takes not even reads into one
            if any(map(_writes, commands)):
                raise
            plain = _Pipeline(self.connection_pool, self.response_callbacks, transaction=False, shard_hint=None)
            plain.command_stack = stack
            return plain.execute(raise_on_error)
        except redis.WatchError:
            raise  # another client was faster: nothing was done
        except _REFUSALS:  # of a transaction: all of it or nothing
            raise
        except BaseException:
            if any(map(_writes, commands)):
                _note()
            raise
        for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, Exception):
                changed = str(reply).startswith(HALFDONE)
            elif _is_reporting(command):
                changed, replies[place] = reply[0] == 1, reply[1] if len(reply) > 1 else None
            else:
                changed = _writes(command)
            if changed:
                _note()
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply  # not as redis-py annotates it: with the command's arguments
        return replies


def put(client: redis.Redis, key: str, value: str, *, ms: int, new: bool = False) -> bool:
    """Sets a small key that ends by itself, also where Redis is full. Cost: one script.

    Args:
        new: Only if it is not there, or nobody's: no string, or without an end within a day.

    Returns:
        Whether it was set.
    """
    with client.pipeline(transaction=False) as pipe:
        ask_put(pipe, key, value, ms=ms, new=new)
        return bool(pipe.execute()[0])


def drop_nobodys(client: redis.Redis, key: str) -> None:
    """Deletes a foreign value in the place of a lease, which would block it for ever. Cost: one script."""
    client.eval(_DROP, 1, key)


def ask_put(pipe: Pipeline, key: str, value: str, *, ms: int, new: bool = False) -> None:
    """The same, as a part of a pipeline."""
    pipe.eval(_PUT, 1, key, value, str(ms), "new" if new else "")


def counted(make: Callable[..., Any]) -> Callable[..., Any]:
    """What makes kombu's Redis clients, so that their publishing is noted: a command to workers begins with that."""

    def made(*args: Any, **options: Any) -> Any:
        client = make(*args, **options)
        publish = client.publish

        def counted_publish(*args: Any, **options: Any) -> Any:
            with counted_command():
                return publish(*args, **options)

        client.publish = counted_publish
        return client

    return made


@functools.cache
def reporting(script: str) -> str:
    """The script, so that it tells whether it has changed something; as it is, where it can't.

    Cost: about 0.4 µs for each command of a script that writes.
    """
    if all(name in READS for name in _CALLED.findall(script)):
        return script
    return _REPORTING % (", ".join(f"{name}=1" for name in sorted(READS)), script, HALFDONE)


def broken_off(heading: str, error: redis.RedisError | OpsdashError) -> Uncertain:
    """What ended an act that may have changed something: no answer, or an answer that refuses one of its commands."""
    if isinstance(error, OpsdashError):
        begun, why = f"{heading} had begun", error.fault
    else:
        lost = isinstance(error, redis.ConnectionError | redis.TimeoutError)
        begun = f"{'Lost the connection to Redis' if lost else 'Redis refused a command'} during {heading}"
        begun, why = f"{begun}: {error_text(error)}", ""
    return Uncertain(sentences(begun, why, "It may be partly done."), hint=LOOK_FIRST)


def error_text(error: BaseException) -> str:
    """Redis's own words, without the arguments that it repeats of a command it does not know."""
    return str(error).removeprefix(f"{HALFDONE} ").partition(", with args beginning with")[0].rstrip(".")


def _is_reporting(command: Sequence[Any]) -> bool:
    return command[0] == "EVAL" and str(command[1]).startswith(_BEGINS)


def _writes(command: Sequence[Any]) -> bool:
    if command[0] == "EVAL" and not _is_reporting(command):
        return reporting(str(command[1])) != str(command[1])
    return not _reads(command[0])


def _reads(command: Any) -> bool:
    return str(command).upper().partition(" ")[0] in READS


def _note() -> None:
    if (writes := _watched.get()) is not None:
        writes.possible = True
