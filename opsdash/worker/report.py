"""How a worker's report gets to Redis, and leaves it: each in one script, so that nobody reads half of one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import redis

from opsdash.worker.connection import Link
from opsdash.worker.identity import Identity

KEPT_S = 86_400
"""A worker that ended without a word stays on the list of workers this long, with what it ran and held."""
IDLE_SILENT_S = 5.0
"""More than two missed reports. A namesake that held and ran nothing, and is silent this long, is replaced."""

# What lies under these names is opsdash's own: a value of another type there must not cost a worker its report.
_OURS = """
local function short(text) return text and string.sub(text, 1, 200) or '' end
local function ours(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local function instance_at(key)
  if redis.call('EXISTS', key) == 0 then return '' end
  return short(redis.call('HGET', key, 'instance') or 'pid-' .. (redis.call('HGET', key, 'pid') or ''))
end
ours(KEYS[1], 'zset')
ours(KEYS[2], 'hash')
local mine = ' #' .. ARGV[2]
"""
# KEYS: list of workers, the hostname's report. ARGV: hostname, instance, now, seconds to keep, forget before, ``1`` for
# an instance's first report, an instance that is proven dead, one that was moved aside, seconds of silence, then fields
# and values. Returns Redis's time, then the namesake there is: its instance, machine, pid and when that began.
_PUSH = (
    _OURS
    + """
local function idle(key)
  local told = redis.call('HMGET', key, 'time', 'active', 'reserved', 'scheduled', 'unacked')
  if tonumber(ARGV[3]) - (tonumber(told[1]) or 0) < tonumber(ARGV[9]) then return false end
  for i = 2, 5 do
    if (tonumber(told[i]) or 0) > 0 then return false end
  end
  return true
end
local other, aside = instance_at(KEYS[2]), ARGV[8]
if other == ARGV[2] then other = '' end
if other ~= '' and (other == ARGV[7] or idle(KEYS[2])) then
  redis.call('DEL', KEYS[2])
  other = ''
end
if other ~= '' and ARGV[6] == '1' then
  aside = other
  redis.call('RENAME', KEYS[2], KEYS[2] .. ' #' .. aside)
  redis.call('ZADD', KEYS[1], redis.call('ZSCORE', KEYS[1], ARGV[1]) or ARGV[3], ARGV[1] .. ' #' .. aside)
  other = ''
elseif aside ~= '' then
  local key = KEYS[2] .. ' #' .. aside
  ours(key, 'hash')
  if aside == ARGV[7] or aside == other or idle(key) then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[1], ARGV[1] .. ' #' .. aside)
  end
  if redis.call('EXISTS', key) == 0 then aside = '' end
end
local place, member = KEYS[2], ARGV[1]
redis.call('DEL', KEYS[2] .. mine)
if other == '' then
  redis.call('ZREM', KEYS[1], ARGV[1] .. mine)
else
  place, member = place .. mine, member .. mine
end
redis.call('DEL', place)
redis.call('HSET', place, unpack(ARGV, 10))
redis.call('EXPIRE', place, ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[3], member)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[5])
local rival = {false, false, false, false}
if other ~= '' then
  rival = redis.call('HMGET', KEYS[2], 'instance', 'machine', 'pid', 'pid_started')
  rival[1] = other
elseif aside ~= '' then
  rival = redis.call('HMGET', KEYS[2] .. ' #' .. aside, 'instance', 'machine', 'pid', 'pid_started')
  rival[1] = aside
end
local now = redis.call('TIME')
return {now[1], now[2], short(rival[1]), short(rival[2]), short(rival[3]), short(rival[4]), aside}
"""
)
# What the hostname's report says of whose it is: no more of it than that can have. KEYS: it.
_NAMESAKE = """
local found = redis.call('HMGET', KEYS[1], 'instance', 'machine', 'pid', 'pid_started')
for i = 1, 4 do found[i] = found[i] and string.sub(found[i], 1, 200) or '' end
return found
"""
# KEYS as above. ARGV: hostname, instance.
_GOODBYE = (
    _OURS
    + """
if instance_at(KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('DEL', KEYS[2] .. mine)
redis.call('ZREM', KEYS[1], ARGV[1] .. mine)
"""
)


class Reporter:
    """One instance's place on the list of workers.

    The process that started last has the hostname's own name there; any other that still reports under that hostname
    is beside it as ``hostname #instance``, and takes the name back when the newer one leaves. A namesake that is
    proven dead is replaced at once; one that may live on, and held or ran something, stays on the list.

    Args:
        identity: Of the process that reports.
    """

    def __init__(self, hostname: str, identity: Identity) -> None:
        self.hostname = hostname
        self.identity = identity
        self._ahead_s: float | None = None  # Redis's clock, of this process's monotonic one
        self._first = True
        self._dead = self._aside = ""

    def now(self, link: Link) -> float:
        """Redis's time. Cost: one round trip the first time, then none.

        Raises:
            LINK_ERRORS: Redis doesn't answer.
        """
        if self._ahead_s is None:
            with link.redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.eval(_NAMESAKE, 1, link.keys.worker(self.hostname))
                told, before = pipe.execute(raise_on_error=False)
            if isinstance(told, redis.RedisError):
                raise told
            self._note_time(*told)
            if isinstance(before, list):  # else another one's value, which the first report removes
                self._judge(*(_text(value) for value in before))
        return time.monotonic() + (self._ahead_s or 0.0)

    def push(self, link: Link, figures: Mapping[str, str]) -> None:
        """Writes a report. Cost: one round trip.

        Raises:
            LINK_ERRORS: Redis doesn't take it.
        """
        now = self.now(link)
        told: Any = link.redis.eval(
            _PUSH,
            2,
            link.keys.workers,
            link.keys.worker(self.hostname),
            self.hostname,
            self.identity.instance,
            f"{now:.6f}",
            str(KEPT_S),
            f"{now - KEPT_S:.6f}",
            "1" if self._first else "",
            self._dead,
            self._aside,
            str(IDLE_SILENT_S),
            *(part for field in figures.items() for part in field),
        )
        seconds, micros, *rival, aside = (_text(value) for value in told)
        self._first = False
        self._note_time(seconds, micros)
        self._aside = aside
        self._judge(*rival)

    def goodbye(self, link: Link) -> None:
        """Takes this instance off the list: it ends on purpose, and nothing of it runs any more.

        Raises:
            LINK_ERRORS: Redis doesn't answer; the report stays.
        """
        link.redis.eval(
            _GOODBYE,
            2,
            link.keys.workers,
            link.keys.worker(self.hostname),
            self.hostname,
            self.identity.instance,
        )

    def _judge(self, instance: str, machine: str, pid: str, pid_started: str) -> None:
        dead = instance and self.identity.outlives(machine, pid, pid_started)
        self._dead = instance if dead else ""

    def _note_time(self, seconds: Any, micros: Any) -> None:
        self._ahead_s = float(seconds) + float(micros) / 1e6 - time.monotonic()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
