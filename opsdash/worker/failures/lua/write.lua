-- Writes what failed, once however often it is sent. KEYS: the index, the number of this instance's last batch; for a
-- message that is set aside instead of run also hash and index of what is unacknowledged, and what is known of its runs.
-- ARGV: the batch's number, most entries, seconds to keep, most bytes, most groups, most queues or workers of a group,
-- most hours, that message's field or nothing; how many counts follow, each: fingerprint, how often, how many of them are not kept, seconds ago, kind, task, error,
-- place, text, queue, worker; then of each entry: id, fingerprint, bytes, seconds ago, number of words, fields and values.
-- Returns how long ago the youngest failed that had to make room, in seconds; nothing when none had to.
local FAILED = KEYS[1]
-- include ../../../model/lua/own_key.lua
-- include ../../../model/lua/failed.lua
local number, most, ttl_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at = 9
local function next_word()
  at = at + 1
  return ARGV[at]
end
own_key(KEYS[2], 'string')
if number <= (tonumber(redis.call('GET', KEYS[2]) or '') or 0) then return false end
-- The first write, and one that a full Redis refuses: then nothing of this is done.
redis.call('SET', KEYS[2], number, 'EX', 86400)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
own_key(FAILED, 'zset')
own_key(FAILED .. ':bytes', 'hash')
own_key(FAILED .. ':groups', 'zset')

local function stamp(ago) return string.format('%.3f', now - tonumber(ago)) end
local function count_by(key, what, name, times)
  local field, others = what .. ':' .. name, what .. '_known'
  if redis.call('HEXISTS', key, field) == 0 then
    if (tonumber(redis.call('HGET', key, others) or '') or 0) >= tonumber(ARGV[6]) then
      field = what .. ':*'
    else
      add_to(key, others, 1)
    end
  end
  add_to(key, field, times)
end
local function forget_hours(key, hour)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local old = string.match(field, '^at:(%d+)$')
    if old and tonumber(old) <= hour - tonumber(ARGV[7]) then redis.call('HDEL', key, field) end
  end
end
local function lost(print)
  if print and redis.call('EXISTS', failed_group(print)) == 1 then add_to(failed_group(print), 'not_kept', 1) end
end

for _ = 1, tonumber(ARGV[9]) do
  local print, times, not_kept, when = next_word(), next_word(), next_word(), stamp(next_word())
  local key = failed_group(print)
  own_key(key, 'hash')
  if redis.call('HEXISTS', key, 'first_at') == 0 then redis.call('HSET', key, 'first_at', when) end
  add_to(key, 'count', times)
  add_to(key, 'not_kept', not_kept)
  redis.call('HSET', key, 'last_at', when, 'kind', next_word(), 'task', next_word(), 'error', next_word(),
    'place', next_word())
  local text = next_word()
  if text ~= '' then redis.call('HSET', key, 'message_text', text) end
  count_by(key, 'queue', next_word(), times)
  count_by(key, 'worker', next_word(), times)
  local hour = math.floor(tonumber(when) / 3600)
  if add_to(key, 'at:' .. hour, times) == tonumber(times) then forget_hours(key, hour) end
  redis.call('EXPIRE', key, ttl_s)
  redis.call('ZADD', FAILED .. ':groups', when, print)
end

local place = 0
while at < #ARGV do
  local id, print, size, when, words = next_word(), next_word(), next_word(), stamp(next_word()), tonumber(next_word())
  local key, members = failed_entry(id), failed_group(print) .. ':entries'
  own_key(key, 'hash')
  own_key(members, 'zset')
  failed_unlist(id)
  local before = redis.call('HMGET', key, 'times', 'first_at')
  local first = tonumber(before[2] or '') and before[2] or when
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(ARGV, at + 1, at + words))
  at, place = at + words, place + 1
  redis.call('HSET', key, 'times', string.format('%.0f', (tonumber(before[1] or '') or 0) + 1), 'first_at', first,
    'at', when, 'version', time[1] .. '.' .. time[2] .. '.' .. place, 'fingerprint', print)
  redis.call('EXPIRE', key, ttl_s)
  redis.call('HSET', FAILED .. ':bytes', id, size .. ':' .. print)
  add_to(FAILED .. ':bytes', '*', size)
  redis.call('ZADD', FAILED, when, id)
  redis.call('ZADD', members, when, id)
  redis.call('EXPIRE', members, ttl_s)
end

-- What is too old goes, then what is too much, the oldest first; no more at once than takes a few milliseconds.
local left, old = 1000, string.format('%.3f', now - ttl_s)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', FAILED, '-inf', '(' .. old, 'LIMIT', 0, 200)) do
  failed_drop(id)
  left = left - 1
end
redis.call('ZREMRANGEBYSCORE', FAILED .. ':groups', '-inf', '(' .. old)
local function too_much()
  if more_than(FAILED, most) then return true end
  return (tonumber(redis.call('HGET', FAILED .. ':bytes', '*') or '') or 0) > tonumber(ARGV[4])
end
local gone = false
while left > 0 and too_much() do
  local oldest = redis.call('ZRANGE', FAILED, 0, 0, 'WITHSCORES')
  if not oldest[1] then break end
  gone = string.format('%.0f', math.max(0, now - tonumber(oldest[2])))
  lost(failed_drop(oldest[1]))
  left = left - 1
end
while left > 0 and more_than(FAILED .. ':groups', tonumber(ARGV[5])) do
  local print = redis.call('ZRANGE', FAILED .. ':groups', 0, 0)[1]
  local members = failed_group(print) .. ':entries'
  own_key(members, 'zset')
  for _, id in ipairs(redis.call('ZRANGE', members, 0, 99)) do
    failed_drop(id)
    redis.call('ZREM', members, id)
    left = left - 1
  end
  if not more_than(members, 0) then
    redis.call('DEL', failed_group(print))
    redis.call('ZREM', FAILED .. ':groups', print)
    left = left - 1
  end
end
if not more_than(FAILED, 0) then redis.call('DEL', FAILED .. ':bytes') end
for _, key in ipairs({FAILED, FAILED .. ':bytes', FAILED .. ':groups'}) do redis.call('EXPIRE', key, ttl_s) end
if KEYS[3] then
  redis.call('HDEL', KEYS[3], ARGV[8])
  redis.call('ZREM', KEYS[4], ARGV[8])
  redis.call('DEL', KEYS[5])
end
return gone
