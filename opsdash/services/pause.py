"""Pause flags: written here, read by every worker. The flag's existence is the truth; all else explains it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from opsdash.keys import EVERYTHING, PAUSE_VALUE
from opsdash.model import PauseInfo
from opsdash.services.broker import Broker

# One script, as atomic as MULTI: the JSON carries the epoch, which only the server can hand out.
# A nudge that may not be published costs the workers two seconds, and the pause nothing: the doctor names the right.
# What explains the flag is opsdash's own: another one's value there must not keep anybody from pausing or resuming.
_OURS = """
local story = redis.call('TYPE', KEYS[2]).ok
if story ~= 'hash' and story ~= 'none' then redis.call('DEL', KEYS[2]) end
local counter = redis.call('TYPE', KEYS[3]).ok
if counter ~= 'none' and (counter ~= 'string' or not string.match(redis.call('GET', KEYS[3]), '^%d+$')) then
  redis.call('DEL', KEYS[3])
end
"""
# KEYS: flag, info hash, epoch counter. ARGV: ttl, field, JSON without its closing brace, channel, value, ``new`` for
# one that replaces none. Returns the epoch, 0 when there was a pause already.
_PAUSE = (
    _OURS
    + """
if ARGV[6] == 'new' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local epoch = redis.call('INCR', KEYS[3])
redis.call('SET', KEYS[1], ARGV[5], 'EX', ARGV[1])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. ', "epoch": ' .. epoch .. '}')
redis.pcall('PUBLISH', ARGV[4], cjson.encode({epoch = epoch, field = ARGV[2], paused = true}))
return epoch
"""
)
# KEYS as above. ARGV: field, channel, the only epoch that is meant (or nothing). Returns {flags deleted, epoch}.
_RESUME = (
    _OURS
    + """
if ARGV[3] ~= '' then
  local told, story = pcall(cjson.decode, redis.call('HGET', KEYS[2], ARGV[1]) or '')
  if not told or type(story) ~= 'table' or tostring(story.epoch) ~= ARGV[3] then return {0, 0} end
end
local removed = redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], ARGV[1])
local epoch = redis.call('INCR', KEYS[3])
redis.pcall('PUBLISH', ARGV[2], cjson.encode({epoch = epoch, field = ARGV[1], paused = false}))
return {removed, epoch}
"""
)


# A story whose flag is gone, unless somebody paused again meanwhile. KEYS: flag, info hash. ARGV: field, epoch.
_FORGET = """
local story = redis.call('HGET', KEYS[2], ARGV[1])
if not story or redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local told, known = pcall(cjson.decode, story)
if told and type(known) == 'table' and tostring(known.epoch) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[2], ARGV[1])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagsRead:
    """One consistent read of the flags.

    Attributes:
        active: None → the pause of everything, a name → that queue's own.
        left: Stories whose flag is gone: those pauses expired, or were ended outside opsdash.
        epoch: The pause counter; None when there is none.
    """

    active: dict[str | None, PauseInfo]
    left: tuple[PauseInfo, ...]
    epoch: int | None


@dataclass(frozen=True, slots=True)
class PauseFlags:
    """Sets, removes and reads the pause of everything and of single queues."""

    broker: Broker

    def pause(self, queue: str | None, *, by: str, reason: str, ttl_s: int) -> PauseInfo:
        """Sets the flag (again): new TTL, new story, next epoch. Cost: one script, O(1)."""
        return self._pause(queue, by, reason, ttl_s, "")

    def pause_if_not(self, queue: str, *, by: str, reason: str, ttl_s: int) -> PauseInfo | None:
        """As ``pause``; None when the queue has a pause of its own already, which stays as it is."""
        info = self._pause(queue, by, reason, ttl_s, "new")
        return info if info.epoch else None

    def _pause(self, queue: str | None, by: str, reason: str, ttl_s: int, only: str) -> PauseInfo:
        now = datetime.now(UTC)
        expires_at = now + timedelta(seconds=ttl_s)
        story = {"by": by, "at": now.isoformat(), "reason": reason, "expires_at": expires_at.isoformat()}
        epoch = self._run(
            _PAUSE, queue, ttl_s, queue or EVERYTHING, json.dumps(story)[:-1], self.broker.keys.nudge, PAUSE_VALUE, only
        )
        return PauseInfo(queue=queue, by=by, reason=reason, at=now, expires_at=expires_at, epoch=int(epoch))

    def resume(self, queue: str | None, epoch: int | None = None) -> bool:
        """Removes the flag; True when there was one. Cost: one script, O(1).

        Args:
            epoch: Only the pause that this number was given to: one that somebody has set since stays.
        """
        only = "" if epoch is None else str(epoch)
        removed, _ = self._run(_RESUME, queue, queue or EVERYTHING, self.broker.keys.nudge, only)
        return bool(removed)

    def read(self, queues: Iterable[str]) -> dict[str | None, PauseInfo]:
        """What is paused now: None → everything, a name → that queue. Cost: one MULTI, O(queues)."""
        names: list[str | None] = [None, *queues]
        with self.broker.reading(), self.broker.client.pipeline(transaction=True) as pipe:
            self.ask(pipe, names)
            return self.answer(names, pipe.execute(raise_on_error=False)).active

    def ask(self, pipe: Any, names: Iterable[str | None]) -> None:
        """Queues the reads on a pipeline that also reads other things; `answer` takes their replies."""
        for name in names:
            pipe.pttl(self.broker.keys.pause(name))
        pipe.get(self.broker.keys.pause_epoch)
        pipe.hgetall(self.broker.keys.pause_info)

    def answer(self, names: Iterable[str | None], replies: list[Any]) -> FlagsRead:
        """The replies to `ask`, in its order: one per name and two more."""
        *ttls_ms, epoch, stories = replies
        for reply in ttls_ms:
            if isinstance(reply, Exception):
                raise reply
        epoch, stories = _else(epoch, None), _else(stories, {})  # of another type: the flag holds all the same
        now = datetime.now(UTC)
        active, left = {}, []
        for name, ttl_ms in zip(names, ttls_ms, strict=True):
            if ttl_ms != -2:  # PTTL: -2 no key, -1 a key without TTL
                expires_at = now + timedelta(milliseconds=ttl_ms) if ttl_ms >= 0 else None
                active[name] = replace(_story(name, stories), expires_at=expires_at)
            elif (name or EVERYTHING) in stories:
                left.append(_story(name, stories))
        return FlagsRead(active=active, left=tuple(left), epoch=int(epoch) if str(epoch).isdigit() else None)

    def forget(self, ended: PauseInfo) -> None:
        """Drops the story of a pause whose flag is gone, unless there is a newer one."""
        keys = self.broker.keys
        with self.broker.reading():
            self.broker.client.eval(
                _FORGET, 2, keys.pause(ended.queue), keys.pause_info, ended.queue or EVERYTHING, str(ended.epoch)
            )

    def _run(self, script: str, queue: str | None, *args: Any) -> Any:
        keys = self.broker.keys
        return self.broker.client.eval(script, 3, keys.pause(queue), keys.pause_info, keys.pause_epoch, *args)


def _else(reply: Any, default: Any) -> Any:
    """A reply, or the default for a key of another type; other faults are raised."""
    if isinstance(reply, Exception):
        if not str(reply).startswith("WRONGTYPE"):
            raise reply
        return default
    return reply


def _story(queue: str | None, stories: Mapping[str, str]) -> PauseInfo:
    # It may be missing (a flag set by hand) or foreign nonsense: the flag holds all the same.
    try:
        story = json.loads(stories.get(queue or EVERYTHING, "{}"))
        return PauseInfo(
            queue=queue,
            by=str(story.get("by", "")),
            reason=str(story.get("reason", "")),
            at=datetime.fromisoformat(story["at"]) if "at" in story else None,
            expires_at=datetime.fromisoformat(story["expires_at"]) if "expires_at" in story else None,
            epoch=int(story["epoch"]) if "epoch" in story else None,
        )
    except (ValueError, TypeError, AttributeError):
        return PauseInfo(queue=queue)
